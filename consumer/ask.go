package consumer

import (
	"errors"

	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// Question is what a worker would ask the guard about a command, and what it knows before it asks.
type Question struct {
	Command *schemas.Command
	Invalid *schemas.InvalidError // what is wrong with its data; nil where nothing is
	Expired bool
	// Claim is the question. Its Operation is "" where nothing is asked: for a reading, or where the data is too broken to name an operation.
	Claim idempotency.ClaimRequest
}

// Ask gives the question about a message. Of the configuration it needs ChannelID and LINEPay; of the message Subject, Header, Body, Sequence
// and Replay. The error says why the message is no command: a worker would park it.
func (c Config) Ask(m *Message) (*Question, error) {
	cmd, err := c.decode(m)
	if err != nil {
		return nil, err
	}
	return &Question{Command: cmd.Command, Invalid: cmd.invalid, Expired: cmd.expired, Claim: c.question(m, cmd)}, nil
}

// Answer gives the event that an outcome on record (idempotency.Claim.Outcome) answers its command with.
func Answer(outcome []byte) (*schemas.Event, error) {
	o, err := decodeStored(outcome)
	if err != nil {
		return nil, err
	}
	if len(o.events) == 0 {
		return nil, errors.New("outcome on record: it has no event")
	}
	return o.events[len(o.events)-1], nil
}

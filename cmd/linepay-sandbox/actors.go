package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// What others than the shop do: the customer, LINE Pay, and a broken program.

// customerPays opens LINE Pay's page and presses Pay, as a browser would.
func customerPays(name string) step {
	return do(func(ctx context.Context, s *stage) error {
		o := s.order(name)
		if o.page == "" {
			return fmt.Errorf("order %s has no page to pay on", o.id)
		}
		back, err := s.browser.press(ctx, o.page)
		if errors.Is(err, errNotThere) {
			return fmt.Errorf("the simulator at %s knows no payment of order %s: the workers of channel %s call another LINE Pay, "+
				"which their LINEPAY_BASE_URL or channels file names; nothing was paid", s.on.simulator, o.id, s.on.channel)
		}
		if err != nil {
			return fmt.Errorf("the customer of order %s cannot pay at %s: %w", o.id, o.page, err)
		}
		s.out.row(scenarioColumns, cell{"(customer)", faint}, cell{o.id, plain}, cell{"presses Pay on LINE Pay's page", plain},
			cell{"→ back", cyan}, cell{"to " + back, faint})
		return nil
	})
}

// linePayAnswers makes LINE Pay refuse the next call of an operation on an order's payment with a result code.
func linePayAnswers(code string, order string, op linepay.Operation) step {
	return fault(order, simulator.Fault{Operation: op, Kind: simulator.KindCode, Code: code}, "will answer the next "+string(op), code)
}

// linePayLosesItsAnswer makes LINE Pay carry out the next call of an operation on an order's payment, and close the connection instead of
// answering.
func linePayLosesItsAnswer(order string, op linepay.Operation) step {
	lost := simulator.Fault{Operation: op, Kind: simulator.KindDrop, When: simulator.After}
	return fault(order, lost, "will carry out the next "+string(op), "no answer")
}

// fault is for one payment alone: whoever else uses the simulator meets none.
func fault(order string, f simulator.Fault, what, outcome string) step {
	return do(func(ctx context.Context, s *stage) error {
		o := s.order(order)
		f.TransactionID = o.transaction
		if err := s.browser.add(ctx, f); err != nil {
			return fmt.Errorf("add a fault to the simulator: %w", err)
		}
		s.out.row(scenarioColumns, cell{"(LINE Pay)", faint}, cell{o.id, plain}, cell{what, plain}, cell{"→ " + outcome, yellow}, cell{})
		return nil
	})
}

// sendGarbage publishes what is no command at all. Nobody can be answered, so it has to end among the dead letters.
func sendGarbage(op linepay.Operation) step {
	return do(func(ctx context.Context, s *stage) error {
		m := &sent{operation: op, body: []byte(`{"specversion":"1.0","id":"7f0c`)}
		s.sent = append(s.sent, m)
		if err := s.publish(ctx, m); err != nil {
			return err
		}
		var parked letter
		err := s.journal.await(ctx, func(j *journal) bool {
			parked = j.letter(m.sequences[0])
			return parked.Reason != ""
		})
		if err == nil {
			err = s.gone(ctx, m)
		}
		if err != nil {
			return fmt.Errorf("%w to the %s that cannot be read, wanted: a dead letter: %w", errNoAnswer, op, err)
		}
		s.out.row(scenarioColumns, cell{string(op), plain}, cell{}, cell{"JSON that breaks off", plain},
			cell{"→ dead letter", yellow}, cell{parked.Reason + ": " + clip(parked.Detail, 60), faint})
		if parked.Reason != schemas.ReasonInvalid {
			s.surprise("the unreadable message was parked as %s, want %s", parked.Reason, schemas.ReasonInvalid)
		}
		return nil
	})
}

func marshal(v any) ([]byte, error) { return json.Marshal(v, json.Deterministic(true)) }

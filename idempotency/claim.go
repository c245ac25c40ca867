package idempotency

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Claim asks for an operation. Only Fresh and InDoubt grant it; see [Answer] for what to do with each.
//
// Errors: a request that breaks a rule; ErrUnavailable, with ErrReplicas where replicas were missing; ErrForgotten; ErrRecord. With any of
// them nothing may be called. A claim whose answer never arrived may have been stored all the same: it lapses, and the next claim is in doubt.
func (g *Guard) Claim(ctx context.Context, request ClaimRequest) (*Claim, error) {
	if err := request.validate(); err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	bucket, key := entityKey(request.Entity)
	token := newToken()
	keys := []string{key, epochKey(bucket)}
	answer, err := g.runReplicated(ctx, claimScript, keys, g.claimArgs(request, bucket, token), func(answer []string) bool {
		return answer[0] == Fresh.String()
	})
	if err != nil && !errors.Is(err, ErrReplicas) {
		return nil, err
	}
	claim, parseErr := parseClaim(answer, request, token)
	if parseErr != nil {
		return nil, parseErr
	}
	g.wasAt(bucket, claim.Now.UnixMilli())
	if err != nil {
		return nil, errors.Join(err, g.giveBack(ctx, claim))
	}
	return claim, nil
}

// Foresee is what Claim would answer. It grants nothing and changes nothing: a claim in earnest may be answered otherwise a moment later.
//
// Errors: as Claim's, but for ErrReplicas.
func (g *Guard) Foresee(ctx context.Context, request ClaimRequest) (*Claim, error) {
	if err := request.validate(); err != nil {
		return nil, fmt.Errorf("foresee: %w", err)
	}
	bucket, key := entityKey(request.Entity)
	token := newToken()
	answer, err := run(ctx, g.scripts, foreseeScript, []string{key, epochKey(bucket)}, g.claimArgs(request, bucket, token))
	if err != nil {
		return nil, err
	}
	claim, err := parseClaim(answer, request, token)
	if err != nil {
		return nil, err
	}
	claim.Token = ""
	return claim, nil
}

// Pass notes that a message was delivered, for the first time, and is given back without a claim: its next delivery is not in doubt.
//
// Errors: ErrUnavailable, after which the next delivery is looked up before it is called; ErrRecord.
func (g *Guard) Pass(ctx context.Context, entity Entity, operation string, sequence uint64) error {
	_, key := entityKey(entity)
	_, err := run(ctx, g.scripts, passScript, []string{key}, []any{operation, strconv.FormatUint(sequence, 10), ms(g.config.Retention)})
	return err
}

func (g *Guard) claimArgs(r ClaimRequest, bucket int, token string) []any {
	grace := r.Place
	if g.grace > 0 {
		grace = g.grace
	}
	return []any{
		token, r.Operation, r.Command.Source, r.Command.ID, r.Fingerprint,
		strconv.FormatUint(r.Sequence, 10), flag(r.Redelivered), strconv.FormatUint(r.Replay, 10),
		ms(r.CallFor), ms(r.Lease), ms(r.Place), flag(r.Probe), flag(g.config.Cautious), ms(grace), ms(g.config.Retention),
		r.Entity.merchant(), r.Memory.epoch(bucket), flag(r.Sibling), g.process, r.solitude(),
		g.seen[bucket].Load(), string(r.Errand),
	}
}

// solitude is Alone and Only as claim.lua has them.
func (r ClaimRequest) solitude() int {
	switch {
	case r.Alone && r.Only:
		return 2
	case r.Alone:
		return 1
	default:
		return 0
	}
}

func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

func (r ClaimRequest) validate() error {
	for _, f := range []struct{ name, value string }{
		{"Entity.Host", r.Entity.Host},
		{"Entity.ChannelID", r.Entity.ChannelID},
		{"Entity.ID", r.Entity.ID},
		{"Operation", r.Operation},
		{"Command.Source", r.Command.Source},
		{"Command.ID", r.Command.ID},
	} {
		if f.value == "" || !utf8.ValidString(f.value) {
			return broken(f.name, "empty or not UTF-8", "it must be given")
		}
	}
	switch {
	case !slices.Contains([]string{KindTransaction, KindOrder, KindKey}, r.Entity.Kind):
		return broken("Entity.Kind", strconv.Quote(r.Entity.Kind), "it must be transaction, order or key")
	case r.Fingerprint == "" && !r.Probe:
		return broken("Fingerprint", "empty", "only a probe may leave it out")
	case !utf8.Valid(r.Errand):
		return broken("Errand", "not UTF-8", "it must be")
	case !utf8.ValidString(r.Fingerprint):
		return broken("Fingerprint", "not UTF-8", "it must be what the function Fingerprint gives")
	case r.Sequence == 0:
		return broken("Sequence", 0, "stream sequences start at 1")
	case r.CallFor < 0 || (r.CallFor == 0 && !r.Probe):
		return broken("CallFor", r.CallFor, "it must be positive")
	case r.Lease <= r.CallFor || r.Lease > longest:
		return broken("Lease", r.Lease, fmt.Sprintf("it must be longer than CallFor, %v, and at most %v", r.CallFor, longest))
	case r.Place < 0 || (r.Place == 0 && !r.Probe) || r.Place > longest:
		return broken("Place", r.Place, fmt.Sprintf("it must be positive and at most %v", longest))
	}
	return nil
}

// longest bounds every span the guard is given, far from where sums of milliseconds lose digits.
const longest = 365 * 24 * time.Hour

// broken says which field breaks which rule.
func broken(field string, value any, rule string) error {
	return fmt.Errorf("%s is %v: %s", field, value, rule)
}

// claimFields is the number of fields in an answer of claim.lua before the effects owned by other operations.
const claimFields = 16

func parseClaim(answer []string, request ClaimRequest, token string) (*Claim, error) {
	if len(answer) < claimFields {
		return nil, fmt.Errorf("claim: %w: %d fields, not %d", ErrRecord, len(answer), claimFields)
	}
	numbers, err := parseNumbers("claim", answer, 2, 6, 7, 8, 11, 13, 14)
	if err != nil {
		return nil, err
	}
	c := &Claim{
		Reason:       answer[1],
		Now:          moment(numbers[0]),
		Owner:        Command{Source: answer[3], ID: answer[4]},
		Outcome:      bytesOrNil(answer[5]),
		Calls:        int(numbers[1]),
		MaySendUntil: moment(numbers[2]),
		Spent:        time.Duration(numbers[3]) * time.Millisecond,
		Snapshot:     bytesOrNil(answer[9]),
		Holder:       answer[10],
		Ahead:        int(numbers[5]),
		Suspicion:    int(numbers[6]),
		Errand:       bytesOrNil(answer[15]),
		Until:        moment(numbers[4]),
		Owned:        append([]string(nil), answer[claimFields:]...),
		request:      request,
		doubt:        answer[12] == "1",
	}
	for a := Fresh; a <= Rejected; a++ {
		if a.String() == answer[0] {
			c.Answer = a
		}
	}
	switch {
	case c.Answer == 0:
		return nil, fmt.Errorf("claim: %w: answer %q", ErrRecord, answer[0])
	case c.Answer == InDoubt, c.Answer == Fresh:
		c.Token = token
		c.intends = c.Answer == Fresh
	}
	return c, nil
}

// parseNumbers reads whole numbers from an answer's fields.
func parseNumbers(what string, answer []string, at ...int) ([]int64, error) {
	numbers := make([]int64, len(at))
	for i, field := range at {
		n, err := strconv.ParseInt(answer[field], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: field %d: %w", what, ErrRecord, field+1, err)
		}
		numbers[i] = n
	}
	return numbers, nil
}

// moment is a time in ms since 1970; 0 is no time.
func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

func bytesOrNil(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

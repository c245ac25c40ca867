package idempotency

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// giveBackTimeout bounds the release of a claim that may not be used; it runs even if the caller's context has ended.
const giveBackTimeout = 2 * time.Second

// Extend prolongs a granted claim, and updates its fields: Now, Until, Calls, MaySendUntil, Snapshot.
//
// Errors: ErrLost, after which nothing more may be sent; ErrUnavailable, with ErrReplicas (and the claim released) where replicas were
// missing; ErrRecord. With any of them the intended call must not be made.
func (g *Guard) Extend(ctx context.Context, claim *Claim, extension Extension) error {
	if err := extension.validate(claim); err != nil {
		return fmt.Errorf("extend: %w", err)
	}
	from, to := claim.Calls, claim.Calls
	if extension.Call {
		to++
	}
	_, key := entityKey(claim.request.Entity)
	args := []any{
		claim.Token, claim.request.Operation, ms(extension.Lease), ms(extension.CallFor), from, to, string(extension.Snapshot),
		flag(extension.Proven), ms(g.config.Retention),
	}
	answer, err := g.runReplicated(ctx, extendScript, []string{key}, args, func(answer []string) bool {
		return answer[0] == "ok" && extension.CallFor > 0
	})
	if err != nil && !errors.Is(err, ErrReplicas) {
		return err
	}
	if parseErr := claim.extended(answer, extension); parseErr != nil {
		return parseErr
	}
	if err != nil {
		return errors.Join(err, g.giveBack(ctx, claim))
	}
	return nil
}

func (e Extension) validate(claim *Claim) error {
	switch {
	case !claim.Granted():
		return fmt.Errorf("the claim was answered %v and grants nothing", claim.Answer)
	case e.Call && e.CallFor <= 0:
		return broken("CallFor", e.CallFor, "it must be positive for another call")
	case e.CallFor < 0:
		return broken("CallFor", e.CallFor, "it must not be negative")
	case e.Lease <= e.CallFor || e.Lease > longest:
		return broken("Lease", e.Lease, fmt.Sprintf("it must be longer than CallFor, %v, and at most %v", e.CallFor, longest))
	case e.Snapshot != nil && len(e.Snapshot) == 0:
		return broken("Snapshot", "empty", "leave it nil to keep the stored one")
	case !utf8.Valid(e.Snapshot):
		return broken("Snapshot", "not UTF-8", "it must be JSON")
	}
	return nil
}

func (c *Claim) extended(answer []string, extension Extension) error {
	if len(answer) != 6 {
		return fmt.Errorf("extend: %w: %d fields, not 6", ErrRecord, len(answer))
	}
	numbers, err := parseNumbers("extend", answer, 1, 2, 3, 4)
	if err != nil {
		return err
	}
	c.Now, c.Until, c.Calls, c.MaySendUntil = moment(numbers[0]), moment(numbers[1]), int(numbers[2]), moment(numbers[3])
	c.doubt = answer[5] == "1"
	c.intends = (c.intends && !extension.Proven) || extension.Call
	if extension.Snapshot != nil {
		c.Snapshot = extension.Snapshot
	}
	return nil
}

// Settle stores how the operation of a granted claim ended, and frees its entity. Repeating it with the same settlement is harmless.
//
// A done outcome is stored even if Redis forgot the record. Errors: ErrLost; ErrUnavailable, after which it is unknown whether the outcome
// is stored; ErrRecord. A done or parked outcome that could not be stored because the claim was lost leaves doubt in the record: whoever
// claims next looks up.
func (g *Guard) Settle(ctx context.Context, claim *Claim, settlement Settlement) error {
	if err := settlement.validate(claim); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	command := settlement.Command
	if command == (Command{}) {
		command = claim.Owner
	}
	leaves := leavesNever
	switch {
	case settlement.State == StateDone:
		leaves = leavesAlways
	case settlement.MoneyUnknown:
		leaves = claim.leaves()
	}
	_, key := entityKey(claim.request.Entity)
	args := []any{
		claim.Token, claim.request.Operation, settlement.State.String(), string(settlement.Outcome), settlement.Effect,
		command.Source, command.ID, flag(settlement.MoneyUnknown), ms(g.config.Retention),
	}
	args = append(append(args, claim.lostArgs(leaves)...), flag(settlement.Unsent))
	_, err := run(ctx, g.scripts, settleScript, []string{key}, append(args, claim.toldArgs(settlement.Told)...))
	return err
}

func (s Settlement) validate(claim *Claim) error {
	switch {
	case !claim.Granted():
		return fmt.Errorf("the claim was answered %v and grants nothing", claim.Answer)
	case s.State < StateDone || s.State > StateParked:
		return broken("State", int(s.State), "it must be StateDone, StateRefused or StateParked")
	case len(s.Outcome) == 0 || !utf8.Valid(s.Outcome):
		return broken("Outcome", "empty or not UTF-8", "it must be the event or dead letter")
	case s.Effect != "" && (s.State != StateDone && !s.MoneyUnknown || !utf8.ValidString(s.Effect)):
		return broken("Effect", "given with state "+s.State.String(), "only an operation that is done, or may be, has one, in UTF-8")
	case s.MoneyUnknown && s.State != StateParked:
		return broken("MoneyUnknown", "given with state "+s.State.String(), "only a parked operation can be unknown")
	case s.Unsent && s.State == StateDone:
		return broken("Unsent", "given with state done", "what was carried out was sent")
	case s.Command != (Command{}) && (s.Command.Source == "" || s.Command.ID == ""):
		return broken("Command", "half empty", "give both parts, or neither for the owner")
	case !utf8.ValidString(s.Command.Source) || !utf8.ValidString(s.Command.ID):
		return broken("Command", "not UTF-8", "it must be")
	}
	return tellable(s.Told)
}

func tellable(told Answer) error {
	if told != 0 && told != Rejected && told != Conflict {
		return broken("Told", told, "it must be Rejected or Conflict, or zero for none")
	}
	return nil
}

// Release gives a granted claim back without an outcome. Unless a call may have happened, it restores the state before the claim: what was
// fresh is fresh again, what was in doubt stays in doubt unless that was disproved. Repeating it is harmless.
//
// Errors: ErrLost; ErrUnavailable, after which the claim lapses by itself, into doubt; ErrRecord.
func (g *Guard) Release(ctx context.Context, claim *Claim, release Release) error {
	if err := release.validate(claim); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	leaves := leavesNever
	if release.Unknown {
		leaves = claim.leaves()
	} else if claim.doubt {
		leaves = leavesIfMissing
	}
	_, key := entityKey(claim.request.Entity)
	args := []any{
		claim.Token, claim.request.Operation, flag(release.Unknown), ms(release.RetryAfter), ms(release.Spend), ms(g.config.Retention),
	}
	args = append(append(args, claim.lostArgs(leaves)...), flag(release.Yield), ms(claim.request.Place), flag(release.Aside))
	_, err := run(ctx, g.scripts, releaseScript, []string{key}, append(args, claim.toldArgs(release.Told)...))
	return err
}

func (r Release) validate(claim *Claim) error {
	switch {
	case !claim.Granted():
		return fmt.Errorf("the claim was answered %v and grants nothing", claim.Answer)
	case r.Yield && r.Unknown:
		return broken("Yield", r.Yield, "what may have been called cannot let others go first")
	case r.RetryAfter < 0 || r.RetryAfter > longest:
		return broken("RetryAfter", r.RetryAfter, fmt.Sprintf("it must be from 0 to %v", longest))
	case r.Spend < 0 || r.Spend > longest:
		return broken("Spend", r.Spend, fmt.Sprintf("it must be from 0 to %v", longest))
	}
	return tellable(r.Told)
}

// giveBack releases a claim that may not lead to a call because replicas are missing.
func (g *Guard) giveBack(ctx context.Context, claim *Claim) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout)
	defer cancel()
	return g.Release(ctx, claim, Release{})
}

// What a lost claim leaves in the record: see leave_doubt in record.lua.
const (
	leavesNever     = "never"
	leavesIfMissing = "missing"
	leavesAlways    = "always"
)

// leaves says what this claim, its outcome unknown, knows that the record may not: a call of its own that may have been made, or just the
// doubt it was granted with.
func (c *Claim) leaves() string {
	if c.intends {
		return leavesAlways
	}
	return leavesIfMissing
}

func (c *Claim) lostArgs(leaves string) []any {
	return []any{
		leaves, c.Owner.Source, c.Owner.ID, c.request.Fingerprint, c.Calls,
		strconv.FormatUint(c.request.Replay, 10), strconv.FormatUint(c.request.Sequence, 10), string(c.Snapshot),
	}
}

func (c *Claim) toldArgs(told Answer) []any {
	answer := ""
	if told != 0 {
		answer = told.String()
	}
	return []any{answer, c.request.Command.Source, c.request.Command.ID}
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"linepay-worker/cmd/internal/app"
)

type replayCommand struct {
	chosen    `embed:""`
	DryRun    bool             `help:"Only say what each replay would lead to, as things stand. Asks the guard, with the worker's settings; changes nothing."`
	Rate      int              `placeholder:"N" help:"Publish at most N a second (default: no limit)."`
	Max       int              `placeholder:"N" help:"Replay the oldest N at most (default: all that are chosen)."`
	Canary    int              `placeholder:"N" help:"Replay N first, wait for what becomes of them, and go on only if none failed."`
	StopAfter int              `default:"10" placeholder:"N" help:"Stop publishing when N have failed (default: 10; 0: never)."`
	Wait      time.Duration    `default:"2m" placeholder:"DURATION" help:"Follow what becomes of the commands until all are over, or nothing has happened for this long (default: 2m; 0: do not follow)."`
	Because   string           `placeholder:"TEXT" help:"Why, for the audit stream (with numbers, --reason does, too)."`
	JSON      bool             `help:"Print JSON: one document for each dead letter, and a summary at last."`
	Auditor   auditor          `embed:""`
	NATS      app.NATSSettings `embed:"" group:"NATS"`
	Guard     guardSettings    `embed:"" group:"Guard (for --dry-run)"`
}

// Help says what the exit codes mean, and what an interruption costs.
func (*replayCommand) Help() string {
	return "A replayed command keeps its source and id, and the guard sees to it that nothing is carried out twice, however often it is replayed. " +
		"Each replay is put on record in LINEPAY_AUDIT first. A dead letter is deleted when its command is stored again; interrupted, or beside " +
		"another operator, nothing is lost: run it again.\n\n" +
		"Exit code 0: all are answered; 1: some failed, or were parked again; 3: some were refused; 4: some are open yet, or it was interrupted."
}

func (v *replayCommand) validate() error {
	for name, n := range map[string]int{"--rate": v.Rate, "--max": v.Max, "--canary": v.Canary, "--stop-after": v.StopAfter} {
		if n < 0 {
			return usageError{fmt.Errorf("%s must not be negative", name)}
		}
	}
	switch {
	case v.Wait < 0:
		return usageError{errors.New("--wait must not be negative")}
	case v.Canary > 0 && v.Wait == 0:
		return usageError{errors.New("--canary needs a --wait: it goes on only when it has seen what became of the first ones")}
	default:
		return nil
	}
}

// Run replays what is chosen, or says what that would do.
func (v *replayCommand) Run(ctx context.Context, c console) error {
	list, err := v.check(&v.Because)
	if err == nil {
		err = v.validate()
	}
	if err != nil {
		return err
	}
	b, err := openBox(ctx, v.NATS, c)
	if err != nil {
		return err
	}
	defer b.close()
	if v.DryRun {
		return v.dryRun(ctx, c, b, list)
	}
	record, err := v.Auditor.open(ctx, b.js)
	if err != nil {
		return err
	}
	report := &results{console: c, json: v.JSON, followed: v.Wait > 0}
	follower, err := newFollower(ctx, b.js, report)
	if err != nil {
		return err
	}
	var stopped error
	err = app.Run(ctx, func(ctx context.Context) error {
		if v.Wait > 0 {
			follower.start(ctx)
			defer follower.stop()
		}
		r := &replayer{replayCommand: v, box: b, record: record, follower: follower, console: c}
		var err error
		stopped, err = r.publish(ctx, list)
		if v.Wait > 0 {
			follower.wait(ctx, v.Wait)
		}
		return orInterrupted(ctx, err)
	})
	return errors.Join(err, report.end(follower, stopped))
}

// dryRun says of each what its replay would lead to.
func (v *replayCommand) dryRun(ctx context.Context, c console, b *box, list numbers) error {
	seer, err := v.Guard.open(ctx, b.js)
	if err != nil {
		return err
	}
	defer seer.close()
	count := map[string]int{}
	pages := &paged{
		look: func(ctx context.Context, l *letter) (err error) {
			l.would, err = seer.foresee(ctx, l)
			return err
		},
		give: func(l *letter) error {
			count[l.would.Would]++
			if v.JSON {
				doc := l.document()
				doc.Foreseen = &l.would
				return document(c.out, doc)
			}
			_, err := fmt.Fprintf(c.out, "%d  %s  %s  %s\n", l.Number, cmp.Or(printable(l.operation), "-"), cmp.Or(printable(l.order()), "-"),
				printable(l.would.String()))
			return err
		},
	}
	return app.Run(ctx, func(ctx context.Context) error {
		taken := 0
		err := v.each(ctx, b, list, func(l *letter) error {
			if taken++; v.Max > 0 && taken > v.Max {
				return errEnough
			}
			return pages.add(ctx, l)
		}, func(number uint64) error {
			fmt.Fprintf(c.err, "dead letter %d is gone: it was replayed, resolved or dropped, or never was there\n", number)
			return nil
		})
		if err == nil || errors.Is(err, errEnough) {
			err = pages.flush(ctx)
		}
		if err == nil && !v.JSON {
			_, err = fmt.Fprintln(c.out, "would "+counted(count))
		}
		return orInterrupted(ctx, err)
	})
}

var errEnough = errors.New("as many as were asked for")

// counted writes numbers of things, in the order of their names.
func counted(count map[string]int) string {
	var parts []string
	for _, name := range sortedKeys(count) {
		parts = append(parts, fmt.Sprintf("%s: %d", name, count[name]))
	}
	if len(parts) == 0 {
		return "nothing: no dead letter was chosen"
	}
	return strings.Join(parts, ", ")
}

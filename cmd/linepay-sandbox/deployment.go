package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer"
	"linepay-worker/schemas"
)

// deployment is what the scenario is played on: NATS, workers and a simulator, in this process or elsewhere.
type deployment struct {
	shop      *nats.Conn    // that sends commands, and reads the events
	channel   string        // on which the workers call the simulator
	simulator string        // its base URL, as it is reached from here
	limit     time.Duration // of the whole scenario
}

// scenarioArguments are those of the scenario on a deployment that runs elsewhere.
type scenarioArguments struct {
	SimulatorURL string           `name:"simulator-url" default:"http://127.0.0.1:8081" help:"Address of the LINE Pay simulator that the workers call, as it is reached from here."`
	Channel      string           `env:"LINEPAY_CHANNEL" default:"default" help:"Name of the workers' channel to send the commands on."`
	Timeout      time.Duration    `default:"2m" help:"Time for the whole scenario (duration). One that is not over by then counts as failed."`
	LogLevel     string           `name:"log-level" env:"LOG_LEVEL" default:"error" enum:"debug,info,warn,error" help:"Least severe log lines of the connection to NATS to write to standard error (debug, info, warn, error)."`
	NATS         app.NATSSettings `embed:"" group:"NATS"`
}

// Validate checks what would otherwise fail in the middle of the scenario.
func (a scenarioArguments) Validate() error {
	u, err := url.Parse(a.SimulatorURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return errors.New("--simulator-url must be scheme and host alone, such as http://simulator:8081")
	}
	if a.Timeout <= 0 {
		return fmt.Errorf("--timeout is %s: must be more than 0", a.Timeout)
	}
	return schemas.ValidChannel(a.Channel)
}

// answersWithin bounds each request to JetStream. What NATS does not allow is not answered at all.
const answersWithin = 5 * time.Second

// playDeployed plays the scenario over the network alone.
func playDeployed(ctx context.Context, args scenarioArguments, stdout, stderr io.Writer) error {
	logger := app.NewLogger(app.LogSettings{Level: args.LogLevel, Format: "console"}, stderr)
	conn, err := app.ConnectNATS(args.NATS, program+" scenario", logger)
	if err != nil {
		return err
	}
	defer conn.Close()
	on := deployment{shop: conn, channel: args.Channel, simulator: args.SimulatorURL, limit: args.Timeout}
	verdict := errUnfinished
	err = app.Run(ctx, func(ctx context.Context) error {
		verdict = on.play(ctx, newPrinter(stdout))
		if verdict != nil && !errors.Is(verdict, errDisagree) && ctx.Err() != nil {
			verdict = errUnfinished
		}
		return nil
	})
	return errors.Join(err, verdict)
}

func (d deployment) play(ctx context.Context, out *printer) error {
	if err := d.look(ctx); err != nil {
		return d.refusal(err)
	}
	out.title("linepay-worker's scenario, on a deployment")
	out.list([][2]string{
		{"NATS", app.Printable(d.shop.ConnectedUrlRedacted())},
		{"channel", d.channel},
		{"LINE Pay simulator", d.simulator},
	})
	out.blank()
	explainRows(out)
	left, err := playScenario(ctx, d, out)
	if err != nil && !errors.Is(err, errDisagree) {
		return d.refusal(d.explain(ctx, err))
	}
	left.tell(out)
	return err
}

// look finds out what is missing before the first command is sent: one that nobody takes would stay in the stream.
func (d deployment) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(answersWithin, d.limit))
	defer cancel()
	if _, err := newBrowser(d.simulator).ledger(ctx, "none"); err != nil {
		return fmt.Errorf("no LINE Pay simulator answers at %s: %w\nStart one with `%s simulator` and let the workers call it, "+
			"or correct --simulator-url", d.simulator, err, program)
	}
	info, err := d.served(ctx)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return fmt.Errorf("no worker has served channel %s yet: start one, or correct --channel; `linepayctl status` shows which there are",
			d.channel)
	case err != nil:
		return noStream(err, schemas.StreamCommands)
	case info.Paused:
		return fmt.Errorf("channel %s is paused for another %s: `linepayctl resume %s` ends that",
			d.channel, info.PauseRemaining.Round(time.Second), d.channel)
	}
	return nil
}

// served is the channel's consumer. A worker that has just started makes it in a moment.
func (d deployment) served(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	js, err := jetstream.New(d.shop)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for missing := error(nil); ; {
		found, err := js.Consumer(ctx, schemas.StreamCommands, consumer.ConsumerName(d.channel))
		switch {
		case err == nil:
			return found.CachedInfo(), nil
		case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
			missing = err
		case missing == nil || ctx.Err() == nil:
			return nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, missing
		}
	}
}

// refusal adds what NATS has refused to this account, which otherwise shows only as an answer that does not come.
func (d deployment) refusal(err error) error {
	if refused := d.shop.LastError(); errors.Is(refused, nats.ErrPermissionViolation) {
		return fmt.Errorf("%w\nNATS does not allow this account all that the scenario needs: %w\n"+
			"The operator of deploy/nats/permissions.conf may do it all", err, refused)
	}
	return err
}

// explain adds how the workers look while nobody answers.
func (d deployment) explain(ctx context.Context, err error) error {
	if !errors.Is(err, errNoAnswer) || ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	found, unseen := d.served(ctx)
	switch {
	case unseen != nil:
		return fmt.Errorf("%w\nNor is there an answer of JetStream: %w", err, unseen)
	case found.NumWaiting == 0:
		return fmt.Errorf("%w\nNo worker asks for commands of channel %s: are workers running, and ready?", err, d.channel)
	default:
		return fmt.Errorf("%w\nA worker takes commands of channel %s: its log, its /readyz and `linepayctl status` tell more", err, d.channel)
	}
}

// noStream puts into words what people meet when they ask for a stream.
func noStream(err error, stream string) error {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("stream %s does not exist: start a worker, which creates it", stream)
	case app.NoJetStream(err):
		return errors.New("JetStream is not enabled on this NATS server, or not for this account: start nats-server with -js")
	default:
		return fmt.Errorf("look at stream %s: %w", stream, err)
	}
}

// tell says what a run leaves in streams that are kept.
func (r remains) tell(out *printer) {
	out.blank()
	out.line(fmt.Sprintf("The run leaves %d events, and what cannot be read among the dead letters. To drop that:", len(r.events)))
	for _, m := range r.sent {
		if m.readable() {
			continue
		}
		for _, d := range r.letters {
			if slices.Contains(m.sequences, d.Sequence) {
				out.commands(fmt.Sprintf("linepayctl deadletters drop %d --because scenario --money-unknown", d.number))
			}
		}
	}
}

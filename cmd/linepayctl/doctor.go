package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rs/zerolog"

	"linepay-worker/cmd/internal/app"
)

type doctorCommand struct {
	JSON       bool                `help:"Print JSON, one finding a line."`
	Monitoring []string            `name:"nats-monitoring" placeholder:"URL" help:"Addresses of NATS' monitoring port, such as http://127.0.0.1:8222: they tell how soon NATS has on disk what it acknowledges."`
	NATS       app.NATSSettings    `embed:"" group:"NATS"`
	Redis      app.RedisSettings   `embed:"" group:"Redis"`
	Channels   app.ChannelSettings `embed:"" group:"LINE Pay channels"`
	Worker     app.WorkerSettings  `embed:"" group:"Worker"`
	Streams    app.StreamSettings  `embed:"" group:"Streams"`
}

// Run looks at everything that the worker stands on. It is given the worker's settings, and changes nothing.
func (d *doctorCommand) Run(ctx context.Context, c console) error {
	app.LogRedis(zerolog.Nop()) // what Redis does not answer is among the findings
	work := app.Work{Streams: d.Streams, Limits: d.Worker, Insecure: d.Channels.Insecure}
	if d.Channels.File != "" || d.Channels.ID != "" || d.Channels.Secret != "" || d.Channels.SecretFile != "" {
		channels, err := d.Channels.Load(d.Worker.Concurrency)
		if err != nil {
			return usageError{err}
		}
		work.Channels = channels
	}
	store, err := app.ConnectRedis(d.Redis)
	if err != nil {
		return usageError{err}
	}
	defer store.Close()
	work.Redis = store

	var findings []app.Finding
	conn, _, err := connect(d.NATS, c)
	if _, wrong := errors.AsType[usageError](err); wrong {
		return err
	}
	if err != nil {
		findings = append(findings, app.Finding{
			Severity: app.Broken, Where: "nats", Setting: "NATS_URL", Value: "no connection", Problem: err.Error(),
			Cost: "no command is taken and no event is told", Remedy: "see that NATS runs, and that address and credentials are right",
		})
	} else {
		defer conn.Close()
		work.NATS = conn
	}
	if len(work.Channels) == 0 {
		findings = append(findings, app.Finding{
			Severity: app.Note, Where: "channels", Setting: "LINEPAY_CHANNELS", Value: "none", Problem: "no channel is configured here",
			Cost: "credentials and consumers are not looked at", Remedy: "run linepayctl doctor with the settings of the worker",
		})
	}
	findings = append(findings, work.Doctor(ctx, d.Monitoring...)...)
	if err := d.print(c, findings); err != nil {
		return err
	}
	return verdict(findings)
}

func verdict(findings []app.Finding) error {
	count := map[app.Severity]int{}
	for _, f := range findings {
		count[f.Severity]++
	}
	if count[app.Broken] == 0 {
		return nil
	}
	return fmt.Errorf("%d broken and %d weak, of %d looked at", count[app.Broken], count[app.Weak], len(findings))
}

func (d *doctorCommand) print(c console, findings []app.Finding) error {
	if d.JSON {
		return documents(c.out, findings)
	}
	_, err := fmt.Fprint(c.out, report(findings))
	return err
}

// report has a line for each finding, and below it what is wrong, what that costs, and what to do.
func report(findings []app.Finding) string {
	where, setting := len("WHERE"), len("SETTING")
	for _, f := range findings {
		where, setting = max(where, len(f.Where)), max(setting, len(f.Setting))
	}
	var b strings.Builder
	row := func(severity app.Severity, cells ...string) {
		fmt.Fprintf(&b, "%-8s  %-*s  %-*s  %s\n", severity, where, cells[0], setting, cells[1], cells[2])
	}
	row("FINDING", "WHERE", "SETTING", "VALUE")
	for _, f := range findings {
		row(f.Severity, printable(f.Where), printable(f.Setting), cmp.Or(printable(f.Value), "-"))
		for _, part := range [][2]string{{"wrong", f.Problem}, {"costs", f.Cost}, {"to do", f.Remedy}} {
			if part[1] != "" {
				fmt.Fprintf(&b, "          %s: %s\n", part[0], printable(part[1]))
			}
		}
	}
	return b.String()
}

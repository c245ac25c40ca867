package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/rs/zerolog"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// simulatorArguments are those of the simulator alone.
type simulatorArguments struct {
	Addr      string   `default:"127.0.0.1:8081" help:"Address to listen on (host:port)."`
	Channel   []string `sep:"none" placeholder:"ID:SECRET" help:"LINE Pay channel that may call; repeatable (default: one that is printed at start)."`
	PublicURL string   `name:"public-url" placeholder:"URL" help:"Address at which the customer's browser reaches it, for paymentUrl.web (default: the one that the request was sent to)."`
	LogLevel  string   `name:"log-level" env:"LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"Least severe log lines to write to standard error (debug, info, warn, error); info has one for each call."`
}

// Validate checks what the simulator takes as it is.
func (a simulatorArguments) Validate() error {
	if _, err := parseChannels(a.Channel); err != nil {
		return err
	}
	if a.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(a.PublicURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return errors.New("--public-url must be scheme and host alone, such as http://localhost:8081")
	}
	return nil
}

// parseChannels reads ID:SECRET. Its errors hold no secret; what is malformed may be one.
func parseChannels(args []string) ([]simulator.Channel, error) {
	var channels []simulator.Channel
	seen := map[string]bool{}
	for _, arg := range args {
		id, secret, _ := strings.Cut(arg, ":")
		switch {
		case id == "" || secret == "":
			return nil, errors.New("--channel must be ID:SECRET, such as 1650000001:0123456789abcdef")
		case seen[id]:
			return nil, fmt.Errorf("--channel %s is given twice", id)
		}
		seen[id] = true
		channels = append(channels, simulator.Channel{ID: id, Secret: linepay.Secret(secret)})
	}
	return channels, nil
}

// serveSimulator serves until ctx ends or a signal comes.
func serveSimulator(ctx context.Context, args simulatorArguments, stdout, stderr io.Writer) error {
	channels, err := parseChannels(args.Channel)
	if err != nil {
		return err
	}
	listener, err := listen(args.Addr)
	if err != nil {
		return fmt.Errorf("--addr is %s: %w; choose another one (port 0: a free one)", args.Addr, err)
	}
	logger := app.NewLogger(app.LogSettings{Level: args.LogLevel, Format: "console"}, stderr)
	sim := simulator.New(simulator.Config{Channels: channels, BaseURL: args.PublicURL, OnCall: logCalls(logger)})
	web := serve(listener, sim, sim, logger)
	defer web.close()
	describeSimulator(newPrinter(stdout), listener.Addr().(*net.TCPAddr), channels)
	return app.Run(ctx, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-web.ended:
			web.ended <- err // for close
			return fmt.Errorf("the simulator at %s ended: %w", args.Addr, err)
		}
	})
}

// logCalls writes one line for each call. A report holds no secrets.
func logCalls(logger zerolog.Logger) func(simulator.Report) {
	return func(r simulator.Report) {
		line := logger.Info().Str("operation", string(r.Operation)).Str("path", r.Path).Str("channel", r.Channel).Str("returnCode", r.ReturnCode)
		if r.Fault != "" {
			line = line.Str("fault", string(r.Fault))
		}
		if r.Remark != "" {
			line = line.Str("remark", r.Remark)
		}
		line.Msg(r.Method)
	}
}

// reachable is an address to call: one that stands for all addresses is reached at the loopback one.
func reachable(addr *net.TCPAddr) string {
	if addr.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", addr.Port)
	}
	return addr.String()
}

// describeSimulator prints how to use it.
func describeSimulator(out *printer, addr *net.TCPAddr, channels []simulator.Channel) {
	base := "http://" + reachable(addr)
	out.title("LINE Pay simulator on " + base)
	out.line("It takes no real money and keeps nothing on disk. Ctrl-C ends it.")
	if !addr.IP.IsLoopback() {
		out.line(out.paint(yellow, "Other machines may reach it, and it obeys everyone who does."))
	}
	out.blank()
	var rows [][2]string
	worker := []string{"export LINEPAY_BASE_URL=" + base}
	if len(channels) == 0 {
		account := simulator.DefaultChannel()
		rows = [][2]string{{"channel id", account.ID}, {"channel secret", account.Secret.Reveal() + "  (known to everyone)"}}
		worker = append(worker, "export LINEPAY_CHANNEL_ID="+account.ID, "export LINEPAY_CHANNEL_SECRET="+account.Secret.Reveal())
	}
	for _, channel := range channels {
		rows = append(rows, [2]string{"channel id", channel.ID + "  (with the secret you gave)"})
	}
	out.list(append(rows,
		[2]string{"API", base + "/v3/payments/…  and /v4/payments/…"},
		[2]string{"for a LINE Pay client", "set its host to " + base + " instead of https://api-pay.line.me"}))
	out.blank()
	out.line("For linepay-worker:")
	out.commands(worker...)
	out.line("To try it out, once it runs:")
	out.commands(program + " scenario --simulator-url " + base)
	out.blank()
	out.line("The customer opens paymentUrl.web of a request in a browser and presses Pay or Cancel.")
	out.blank()
	controlCalls(out, base)
}

// controlCalls prints what can be asked of a simulator besides LINE Pay's API.
func controlCalls(out *printer, base string) {
	out.title("What the simulator does on request")
	base += "/_simulator/"
	out.list([][2]string{
		{"show what was carried out", "curl " + base + "ledger"},
		{"pay as the customer, without a browser", "curl -X POST " + base + "payments/TRANSACTION_ID/authenticate"},
		{"cancel as the customer", "curl -X POST " + base + "payments/TRANSACTION_ID/cancel"},
		{"lose the answer to the next refund", "curl " + base + `faults -d '{"operation":"refund","kind":"drop","when":"after"}'`},
		{"refuse the next confirm", "curl " + base + `faults -d '{"operation":"confirm","kind":"code","code":"1142"}'`},
		{"answer all again", "curl -X DELETE " + base + "faults"},
		{"let a day pass", "curl " + base + `clock -d '{"advanceMs":86400000}'`},
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"linepay-worker/cmd/internal/app"
)

const program = "linepay-sandbox"

func main() {
	app.LogRedis(zerolog.Nop()) // what matters about the store in this process reaches the worker as errors
	os.Exit(sandbox{stdout: os.Stdout, stderr: os.Stderr, limit: onceLimit, exit: os.Exit}.run(context.Background(), os.Args[1:]))
}

// arguments is the command line.
type arguments struct {
	Run       runArguments       `cmd:"" default:"withargs" help:"Start NATS, a Redis-compatible store, the LINE Pay simulator and the worker, and play the scenario (default)."`
	Scenario  scenarioArguments  `cmd:"" help:"Play the scenario on a deployment whose workers call a LINE Pay simulator: exit code 0 if the events and its ledger agree, 1 otherwise."`
	Simulator simulatorArguments `cmd:"" help:"Serve the LINE Pay simulator alone, for any LINE Pay client."`
	Print     struct{}           `cmd:"" name:"version" help:"Print the version."`
	Version   kong.VersionFlag   `help:"Print the version."`
}

// runArguments are those of the sandbox itself.
type runArguments struct {
	Once          bool   `help:"Play the scenario and end: exit code 0 if the events and LINE Pay's ledger agree, 1 otherwise."`
	Data          string `placeholder:"DIR" help:"Keep the streams in this folder (default: a temporary one, removed at the end)."`
	NATSPort      uint16 `name:"nats-port" placeholder:"PORT" help:"Port of the NATS server (default: 4222, or a free one where that is taken; with --once a free one)."`
	RedisPort     uint16 `name:"redis-port" placeholder:"PORT" help:"Port of the Redis-compatible store (default: 6379, or a free one likewise)."`
	SimulatorAddr string `name:"simulator-addr" placeholder:"HOST:PORT" help:"Address of the LINE Pay simulator (default: 127.0.0.1:8081, or a free port likewise)."`
	LogLevel      string `name:"log-level" env:"LOG_LEVEL" default:"error" enum:"debug,info,warn,error" help:"Least severe log lines of the worker to write to standard error (debug, info, warn, error). The scenario has a fault in it, which the worker warns about."`
}

const description = `Try linepay-worker out, without LINE Pay, Redis or NATS.

Without a command it starts all of them in one process, plays a scenario and stays up for commands of your own. With --once it ends after
the scenario, with exit code 0 if the events and LINE Pay's ledger agree and 1 otherwise. "linepay-sandbox run --help" lists its flags.`

// onceLimit ends a run with --once whatever hangs: a build pipeline waits for its exit code.
const onceLimit = 19 * time.Second

// sandbox is the program with its surroundings.
type sandbox struct {
	stdout, stderr io.Writer
	limit          time.Duration // of a run for once
	exit           func(int)     // ends one that hangs
}

var (
	// errDisagree is the verdict of a scenario that was played and told.
	errDisagree = errors.New("the events and LINE Pay's ledger disagree")
	// errUnfinished says that the sandbox was told to end before there was a verdict.
	errUnfinished = errors.New("ended before the scenario was over")
)

// Exit codes.
const (
	agreed    = 0
	disagreed = 1 // also: could not be played
	misused   = 2
)

// run gives the exit code.
func (s sandbox) run(ctx context.Context, args []string) int {
	var cli arguments
	answered := false // --help and --version have been, and there is nothing more to do
	parser, err := app.Parser(program, description, &cli,
		kong.Writers(s.stdout, s.stderr), kong.Vars{"version": app.Version(program)}, kong.Exit(func(int) { answered = true }))
	if err != nil {
		return s.fail(misused, err)
	}
	chosen, err := parser.Parse(args)
	switch {
	case answered:
		return agreed
	case err != nil:
		return s.fail(misused, err)
	}
	switch chosen.Command() {
	case "version":
		_, _ = fmt.Fprintln(s.stdout, app.Version(program))
	case "scenario":
		err = playDeployed(ctx, cli.Scenario, s.stdout, s.stderr)
	case "simulator":
		err = serveSimulator(ctx, cli.Simulator, s.stdout, s.stderr)
	default:
		err = s.play(ctx, cli.Run)
	}
	switch {
	case errors.Is(err, errDisagree): // the verdict has said so
		return disagreed
	case err != nil:
		return s.fail(disagreed, err)
	}
	return agreed
}

func (s sandbox) fail(code int, err error) int {
	for i, line := range strings.Split(err.Error(), "\n") {
		if line = app.Printable(line); i == 0 {
			line = program + ": " + line
		}
		_, _ = fmt.Fprintln(s.stderr, line)
	}
	return code
}

// play starts everything, plays the scenario, and stays until it is told to end, unless it is for once.
func (s sandbox) play(ctx context.Context, args runArguments) (err error) {
	if args.Once {
		hung := time.AfterFunc(s.limit, func() {
			s.exit(s.fail(disagreed, fmt.Errorf("not done after %s; --log-level debug tells more", s.limit)))
		})
		defer hung.Stop()
	}
	logger := app.NewLogger(app.LogSettings{Level: args.LogLevel, Format: "console"}, s.stderr)
	servers, err := startServers(args, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	line, err := startLine(ctx, servers, logger)
	if err != nil {
		return err
	}
	defer line.close()

	verdict := errUnfinished
	scenario := func(ctx context.Context) error {
		out := newPrinter(s.stdout)
		announce(out, servers)
		_, verdict = playScenario(ctx, line.deployment(servers), out)
		if args.Once || (verdict != nil && !errors.Is(verdict, errDisagree)) {
			return verdict
		}
		if err := guide(ctx, servers, line, out); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
	// The worker ends in here, before the servers that it works with.
	err = app.Run(ctx, append(line.actors(), scenario)...)
	switch {
	case err == nil:
		return verdict
	case errors.Is(err, errUnfinished) && !args.Once:
		return nil // somebody who only looked around
	}
	return err
}

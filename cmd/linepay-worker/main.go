// Command linepay-worker is the daemon: it takes LINE Pay payment commands from NATS JetStream, carries each of them out once, and
// publishes what became of it. Everything is configured by flags and environment; --help lists both.
//
// It exits with 0 after SIGTERM or SIGINT, with 1 when something it needs is missing or fails, and with 2 when its settings are wrong.
// What is missing at the start is not waited for: whoever starts the worker, starts it again and can see why.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"linepay-worker/cmd/internal/app"
)

const (
	program     = "linepay-worker"
	description = "Carries out LINE Pay payment commands from NATS JetStream and publishes their results."
)

// Exit codes.
const (
	done   = 0
	failed = 1
	usage  = 2
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

func execute(args []string, stdout, stderr io.Writer) int {
	verb := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case "run":
		return run(args, stdout, stderr)
	case "version":
		if len(args) > 0 {
			return complain(stderr, fmt.Errorf("unexpected argument %s: version takes none", args[0]))
		}
		fmt.Fprintln(stdout, app.Version(program))
		return done
	case "healthz":
		return healthz(args, stdout, stderr)
	default:
		return complain(stderr, fmt.Errorf("unexpected argument %s: there are run, which is the default, healthz and version", verb))
	}
}

// tuneGC has garbage collected half as often as Go would by itself: what lives in a worker is a few MiB. GOGC, where it is set, has the last
// word, and GOMEMLIMIT still bounds what it costs.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
}

func run(args []string, stdout, stderr io.Writer) int {
	tuneGC()
	var command runCommand
	err := app.Read(&command, args)
	if errors.Is(err, app.ErrHelp) {
		return help(stdout, stderr)
	}
	if err != nil {
		return complain(stderr, err)
	}
	channels, err := command.Channels.Load(command.Worker.Concurrency)
	if err := errors.Join(err, command.NATS.CheckFiles(), command.Redis.CheckFiles(), app.CheckTraces()); err != nil {
		return complain(stderr, err)
	}
	logger := app.NewLogger(command.Log, stderr)
	if err := command.run(context.Background(), channels, logger); err != nil {
		logger.Error().Err(err).Msg("ended by an error")
		return failed
	}
	return done
}

func help(stdout, stderr io.Writer) int {
	fmt.Fprintf(stdout, "Usage: %s [run] [flags]\n       %s healthz [flags]\n       %s version\n\n%s\n", program, program, program, description)
	fmt.Fprintln(stdout, "It goes on until SIGTERM or SIGINT. A flag wins over its variable.")
	if err := app.Usage(stdout, &runCommand{}); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", program, err)
		return failed
	}
	return done
}

// complain prints one line for each setting that is wrong.
func complain(stderr io.Writer, err error) int {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(stderr, "%s: %s\n", program, line)
	}
	return usage
}

// Command linepay-worker is the daemon: it takes LINE Pay payment commands from NATS JetStream, carries each of them out once, and
// publishes what became of it. Everything is configured by flags and environment; --help lists both.
//
// It exits with 0 after SIGTERM or SIGINT, with 1 when something it needs is missing or fails, and with 2 when its settings are wrong.
// What is missing at the start is not waited for: whoever starts the worker, starts it again and can see why.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

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

type cli struct {
	Run     runCommand     `cmd:"" default:"withargs" help:"Carry out commands until SIGTERM or SIGINT (the default; \"linepay-worker version\" prints the version)."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

type versionCommand struct{}

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

func execute(args []string, stdout, stderr io.Writer) int {
	var cli cli
	parser, err := app.Parser(program, description, &cli, kong.Writers(stdout, stderr), kong.Help(helpForRun))
	if err != nil {
		return complain(stderr, err)
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		return complain(stderr, err)
	}
	if chosen.Command() == "version" {
		fmt.Fprintln(stdout, app.Version(program))
		return done
	}
	channels, err := cli.Run.Channels.Load(cli.Run.Worker.Concurrency)
	if err := errors.Join(err, cli.Run.NATS.CheckFiles()); err != nil {
		return complain(stderr, err)
	}
	logger := app.NewLogger(cli.Run.Log, stderr)
	if err := cli.Run.run(context.Background(), channels, logger); err != nil {
		logger.Error().Err(err).Msg("ended by an error")
		return failed
	}
	return done
}

// complain prints one line for each setting that is wrong.
func complain(stderr io.Writer, err error) int {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(stderr, "%s: %s\n", program, strings.TrimPrefix(line, "run: "))
	}
	return usage
}

// helpForRun shows the settings where no command is given, since run is the default and nothing else has any. Its first line then names the
// program alone.
func helpForRun(options kong.HelpOptions, ctx *kong.Context) error {
	if ctx.Selected() == nil {
		run, err := kong.Trace(ctx.Kong, []string{"run"})
		if err != nil {
			return err
		}
		var text bytes.Buffer
		out := ctx.Stdout
		run.Stdout = &text
		err = kong.DefaultHelpPrinter(options, run)
		run.Stdout = out
		if err == nil {
			_, err = io.WriteString(out, strings.Replace(text.String(), "Usage: "+program+" run ", "Usage: "+program+" ", 1))
		}
		return err
	}
	return kong.DefaultHelpPrinter(options, ctx)
}

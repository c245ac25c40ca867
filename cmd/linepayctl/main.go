// Command linepayctl is for operators: it sends commands to linepay-worker over NATS and shows what became of them. It needs a connection
// to NATS and, but for doctor, order, verify, resolve and a dry run, no worker's secrets. Each verb has a file of its own.
//
// It exits with 0 when all went well, 1 when something failed or disagrees, 2 when it was called wrongly, 3 when a rule of safety forbids it,
// and 4 when a command was sent and nobody knows yet what becomes of it, or when something was done, or looked at, in part.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

const (
	program     = "linepayctl"
	description = "Sends LINE Pay payment commands over NATS and shows what became of them."
)

// Exit codes.
const (
	done      = 0
	failed    = 1 // also: failed or rejected, or parked before it moved money
	usage     = 2
	forbidden = 3 // refused by a rule of safety
	open      = 4 // a command was sent, and it may move money yet, or may have; or something was done, or looked at, in part
)

type cli struct {
	Send        sendCommand        `cmd:"" help:"Publish a command."`
	Events      eventsCommand      `cmd:"" help:"List or follow result events."`
	Deadletters deadlettersCommand `cmd:"" help:"List, show, replay, resolve, drop and export parked commands."`
	Status      statusCommand      `cmd:"" help:"Show how things stand: commands that wait, dead letters, streams, what is in doubt. Changes nothing."`
	Pause       pauseCommand       `cmd:"" help:"Stop the delivery of a channel's commands for a while."`
	Resume      resumeCommand      `cmd:"" help:"End the pause of a channel."`
	Order       orderCommand       `cmd:"" help:"Show the whole life of an order: commands, events, dead letters, what operators did, the guard's records, LINE Pay's details."`
	Verify      verifyCommand      `cmd:"" help:"Compare events, the guard's records and LINE Pay's details, and report what disagrees. Changes nothing."`
	Doctor      doctorCommand      `cmd:"" help:"Find what weakens the guard or breaks it, with the settings of the worker. Changes nothing."`
	Schemas     schemasCommand     `cmd:"" help:"Print the JSON Schemas, the AsyncAPI document and the TypeScript types of all messages, or write them to files. Needs no NATS."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// console is where a verb reads and writes. What was asked for goes to out, what is said about it to err.
type console struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is an error of the caller: exit code 2.
type usageError struct{ error }

// refusedError says which rule forbids what was asked for, and what would be allowed: exit code 3.
type refusedError struct{ error }

// openError leaves something open, such as what becomes of a command that was sent: exit code 4.
type openError struct{ error }

func (e openError) Unwrap() error { return e.error }

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], console{os.Stdin, os.Stdout, os.Stderr}))
}

// newParser reads command lines; the verbs that it finds run with ctx and c.
func newParser(ctx context.Context, c console) (*kong.Kong, error) {
	var operations []string
	for _, op := range linepay.Operations() {
		operations = append(operations, string(op))
	}
	return app.Parser(program, description, &cli{},
		kong.Writers(c.out, c.err),
		kong.Vars{"operations": strings.Join(operations, ", "), "events": strings.Join(schemas.EventNames(), ", "), "reasons": strings.Join(schemas.DeadLetterReasons(), ", ")},
		kong.Bind(c), kong.BindTo(ctx, (*context.Context)(nil)))
}

func execute(ctx context.Context, args []string, c console) int {
	parser, err := newParser(ctx, c)
	if err != nil {
		return c.complain(err, failed)
	}
	verb, err := parser.Parse(args)
	if err != nil {
		return c.complain(fmt.Errorf("%w\nsee %q", err, strings.Join(append(called(err), "--help"), " ")), usage)
	}
	return c.result(verb.Run())
}

// called is the program and the verb that a command line got to.
func called(err error) []string {
	words := []string{program}
	var wrong *kong.ParseError
	if errors.As(err, &wrong) {
		if verb := wrong.Context.Selected(); verb != nil {
			words = strings.Fields(verb.FullPath())
		}
	}
	return words
}

// result gives the exit code of a verb.
func (c console) result(err error) int {
	var wrong usageError
	var undecided openError
	var refused refusedError
	switch {
	case err == nil:
		return done
	case errors.As(err, &wrong):
		return c.complain(err, usage)
	case errors.As(err, &undecided):
		return c.complain(err, open)
	case errors.As(err, &refused):
		return c.complain(err, forbidden)
	default:
		return c.complain(err, failed)
	}
}

// complain says what went wrong. Errors may quote what came from the bus.
func (c console) complain(err error, code int) int {
	fmt.Fprintf(c.err, "%s: ", program)
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(c.err, printable(line))
	}
	return code
}

// connect gives a connection and JetStream over it; the caller closes the connection.
func connect(s app.NATSSettings, c console) (*nats.Conn, jetstream.JetStream, error) {
	if err := s.CheckFiles(); err != nil {
		return nil, nil, usageError{err}
	}
	logger := app.NewLogger(app.LogSettings{Level: "warn", Format: "console"}, c.err)
	conn, err := app.ConnectNATS(s, program, logger)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, js, nil
}

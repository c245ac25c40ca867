// Package examples_test runs the examples as their readers would: against a worker, with NATS and Redis, and the simulator in LINE Pay's
// place.
package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
)

// programs is the folder with the worker and the Go examples, built once.
var programs string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "linepay-worker-examples-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	programs = dir
	output, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "linepay-worker/cmd/linepay-worker", "./go/...").CombinedOutput()
	if err != nil {
		panic(fmt.Sprintf("%v\n%s", err, output))
	}
	return m.Run()
}

func TestExamplesInGo(t *testing.T) {
	t.Parallel()
	tryOut(t, func(name string) []string { return []string{filepath.Join(programs, name)} })
}

func TestExamplesInTypeScript(t *testing.T) {
	t.Parallel()
	dist := compile(t)
	tryOut(t, func(name string) []string { return []string{"node", filepath.Join(dist, name+".js")} })
}

// tryOut orders payments with one example and books them with the other. command gives the command line of an example.
func tryOut(t *testing.T, command func(name string) []string) {
	w := startWorld(t)
	transaction := w.pay.Paid(t, "ORDER-1", "1000", "TWD", true).String()
	ordered := "ordered: command confirm-" + transaction + " is stored as LINEPAY_COMMANDS 1\n"
	for range 2 { // whoever tries again sends the same command
		if said := w.run(t, append(command("checkout"), "ORDER-1", transaction, "1000", "TWD")...); said != ordered {
			t.Fatalf("checkout said %q, want %q", said, ordered)
		}
	}
	event := consumertest.Await(t, w.js, "LINEPAY_EVENTS", "linepay.events.default.captured.ORDER-1", 1)[0]

	ledger := w.start(t, command("ledger")...)
	ledger.line(t, "booked linepay.event.captured.v1 ORDER-1 "+transaction+" 1000 TWD")
	w.publish(t, event.Subject, "", string(event.Data)) // the same event once more, as a redelivery would bring it
	w.publish(t, "linepay.events.default.captured.NOISE", "", "no event")
	w.publish(t, "linepay.commands.default.refund", "application/cloudevents+json", `{"specversion":"1.0","id":"f-1","source":"/shop",
		"type":"linepay.command.refund.v1","data":{"transactionId":"`+transaction+`","orderId":"ORDER-1","refundAmount":"400","refundId":"R-1"}}`)
	consumertest.Await(t, w.js, "LINEPAY_EVENTS", "linepay.events.default.refunded.ORDER-1", 1)
	ledger.line(t, "booked linepay.event.refunded.v1 ORDER-1 "+w.refund(t)+" 400 TWD")
	w.awaitAckPending(t, 1) // the noise alone
	ledger.stop(t)

	// A ledger that starts again goes on where it was.
	ledger = w.start(t, command("ledger")...)
	second := w.pay.Paid(t, "ORDER-2", "50", "TWD", true).String()
	w.run(t, append(command("checkout"), "ORDER-2", second, "50", "TWD")...)
	ledger.line(t, "booked linepay.event.captured.v1 ORDER-2 "+second+" 50 TWD")
	ledger.stop(t)
}

// world is all that the examples talk to.
type world struct {
	pay *consumertest.LINEPay
	js  jetstream.JetStream
	url string
}

func startWorld(t *testing.T) *world {
	t.Helper()
	server, redis := consumertest.NATS(t), consumertest.Redis(t)
	w := &world{pay: consumertest.Simulator(t), js: server.JetStream(t), url: server.URL()}
	w.launch(t, []string{
		"REDIS_URL=" + redis.URL(), "LINEPAY_BASE_URL=" + w.pay.URL, "LINEPAY_CHANNEL_ID=" + w.pay.ChannelID,
		"LINEPAY_CHANNEL_SECRET=" + w.pay.Secret.Reveal(), "ADMIN_ADDR=off",
	}, filepath.Join(programs, "linepay-worker"))
	consumertest.Await(t, w.js, "LINEPAY_COMMANDS", ">", 0) // which the worker creates
	consumertest.Await(t, w.js, "LINEPAY_EVENTS", ">", 0)
	return w
}

// refund is LINE Pay's id of the only refund.
func (w *world) refund(t *testing.T) string {
	t.Helper()
	for _, transaction := range w.pay.Sim.Ledger().Transactions {
		for _, effect := range transaction.Effects {
			if effect.Operation == "refund" {
				return effect.TransactionID.String()
			}
		}
	}
	t.Fatal("LINE Pay has refunded nothing")
	return ""
}

func (w *world) publish(t *testing.T, subject, contentType, body string) {
	t.Helper()
	msg := nats.NewMsg(subject)
	msg.Header.Set("Content-Type", contentType)
	msg.Data = []byte(body)
	if _, err := w.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

// awaitAckPending waits until the ledger has acknowledged all but so many.
func (w *world) awaitAckPending(t *testing.T, want int) {
	t.Helper()
	var info *jetstream.ConsumerInfo
	if !consumertest.Eventually(t, func(ctx context.Context) bool {
		consumer, err := w.js.Consumer(ctx, "LINEPAY_EVENTS", "ledger")
		if err != nil {
			return false
		}
		info = consumer.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == want
	}) {
		t.Fatalf("the ledger's consumer is %+v, want %d unacknowledged", info, want)
	}
}

const patience = time.Minute

// run gives the output of a program, which must succeed.
func (w *world) run(t *testing.T, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	program := exec.CommandContext(ctx, command[0], command[1:]...)
	program.Env = append(os.Environ(), "NATS_URL="+w.url)
	output, err := program.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, output)
	}
	return string(output)
}

// process is a program that runs until it is stopped, or the test ends.
type process struct {
	command *exec.Cmd
	stdout  *bufio.Scanner
	stderr  *bytes.Buffer // to be read after the end
}

func (w *world) start(t *testing.T, command ...string) *process {
	t.Helper()
	return w.launch(t, nil, command...)
}

func (w *world) launch(t *testing.T, env []string, command ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p := &process{command: exec.CommandContext(ctx, command[0], command[1:]...), stderr: &bytes.Buffer{}}
	p.command.Env = append(append(os.Environ(), "NATS_URL="+w.url), env...)
	p.command.Stderr = p.stderr
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewScanner(stdout)
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if p.command.ProcessState == nil {
			_ = p.command.Wait()
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", command, p.stderr)
		}
	})
	return p
}

// line reads the next line of standard output.
func (p *process) line(t *testing.T, want string) {
	t.Helper()
	if !p.stdout.Scan() || strings.TrimSpace(p.stdout.Text()) != want {
		t.Fatalf("line %q, want %q", p.stdout.Text(), want)
	}
}

// stop ends the program the orderly way. It must have nothing more to say.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for p.stdout.Scan() {
		t.Errorf("unexpected line %q", p.stdout.Text())
	}
	if err := p.command.Wait(); err != nil {
		t.Errorf("%s: %v", p.command, err)
	}
}

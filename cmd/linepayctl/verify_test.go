package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// desk is an operator's: linepayctl with all settings, beside a worker.
type desk struct {
	t     *testing.T
	js    jetstream.JetStream
	pay   *consumertest.LINEPay
	flags []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	server := consumertest.NATS(t)
	store, pay := consumertest.Redis(t), consumertest.Simulator(t)
	if err := startWorker(t, server, pay, store, 0); err != nil {
		t.Fatal(err)
	}
	return &desk{t, server.JetStream(t), pay, []string{
		"--nats-url", server.URL(), "--redis-url", store.URL(), "--linepay-base-url", pay.URL, "--linepay-channel-id", pay.ChannelID,
		"--linepay-channel-secret", pay.Secret.Reveal(),
	}}
}

// run gives the exit code, and the findings of a call with --json.
func (d *desk) run(args ...string) (code int, findings []finding, said string) {
	d.t.Helper()
	var out, err bytes.Buffer
	code = execute(d.t.Context(), slices.Concat(args, []string{"--json"}, d.flags), console{strings.NewReader(""), &out, &err})
	for line := range strings.Lines(out.String()) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			d.t.Fatalf("%s: %v", line, err)
		}
		findings = append(findings, f)
	}
	return code, findings, err.String()
}

// send publishes a command without waiting.
func (d *desk) send(op linepay.Operation, id string, data schemas.Data) {
	d.t.Helper()
	command := schemas.Command{ID: id, Source: "/shop", Type: schemas.CommandType(op), Data: data}
	body, err := command.Encode()
	if err == nil {
		_, err = d.js.Publish(d.t.Context(), schemas.CommandSubject("default", op), body)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func TestVerifyTakesNothingThatAWorkerDoesMeanwhileForADisagreement(t *testing.T) {
	t.Parallel()
	const orders = 40
	d := newDesk(t)
	amount, back := linepay.MustAmount("100"), linepay.MustAmount("30")
	ids := make([]linepay.TransactionID, orders)
	for i := range ids {
		ids[i] = d.pay.Paid(t, fmt.Sprintf("ORDER-%d", i), "100", "TWD", true)
	}
	for i, id := range ids {
		order := fmt.Sprintf("ORDER-%d", i)
		d.send(linepay.Confirm, "c-"+order, &schemas.ConfirmData{TransactionID: id, OrderID: order, Amount: amount, Currency: "TWD"})
		d.send(linepay.Refund, "r-"+order, &schemas.RefundData{TransactionID: id, OrderID: order, RefundAmount: &back, RefundID: "R"})
	}
	looks := 0
	for done := false; !done; looks++ {
		done = len(consumertest.Collect(t, d.js, schemas.StreamCommands, schemas.SubjectsCommands)) == 0
		code, findings, said := d.run("verify", "--rate", "1000")
		if code != 0 {
			t.Fatalf("exit code %d while a worker is at work; findings %+v\n%s", code, findings, said)
		}
		if done && (len(findings) > 0 || !strings.HasPrefix(said, "40 orders looked at: 0 disagree; 0 findings under way\n")) {
			t.Fatalf("findings %+v after all was done\n%s", findings, said)
		}
	}
	t.Logf("verified %d times until all was done", looks)
}

func TestVerifyFindsAnEventThatWasDeleted(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var told []*jetstream.RawStreamMsg
	for _, order := range []string{"A", "B"} { // A's event stays, and stays the first
		id := d.pay.Paid(t, order, "100", "TWD", true)
		amount := linepay.MustAmount("100")
		d.send(linepay.Confirm, "c-"+order, &schemas.ConfirmData{TransactionID: id, OrderID: order, Amount: amount, Currency: "TWD"})
		told = consumertest.Await(t, d.js, schemas.StreamEvents, schemas.EventSubject("default", schemas.EventCaptured, order), 1)
	}
	stream, err := d.js.Stream(t.Context(), schemas.StreamEvents)
	if err == nil {
		err = stream.DeleteMsg(t.Context(), told[0].Sequence)
	}
	if err != nil {
		t.Fatal(err)
	}
	code, findings, said := d.run("verify", "A", "B")
	if diff := cmp.Diff([]string{recordWithoutEvent, effectWithoutEvent}, kinds(findings)); code != failed || diff != "" {
		t.Errorf("exit code %d, findings (-want +got):\n%s\n%s", code, diff, said)
	}
	for _, f := range findings {
		if f.Order != "B" || f.Transaction == 0 || f.Channel != "default" {
			t.Errorf("finding %+v, want one about order B", f)
		}
	}
}

func TestOrdersAreAskedAboutInCallsOfAHundred(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var orders []string
	for i := range 230 {
		orders = append(orders, fmt.Sprintf("ORDER-%d", i))
	}
	// Some 900 bytes each in an address.
	orders = append(orders, strings.Repeat("訂", 100), strings.Repeat("單", 99)+"x", strings.Repeat("號", 99)+"y")
	began := time.Now()
	if code, findings, said := d.run(slices.Concat([]string{"verify", "--rate", "10"}, orders)...); code != 0 || len(findings) > 0 {
		t.Fatalf("exit code %d, findings %+v\n%s", code, findings, said)
	}
	calls := 0
	for _, call := range d.pay.Sim.Ledger().Calls {
		if call.Operation == linepay.Details {
			calls++
		}
	}
	if calls != 3 {
		t.Errorf("%d calls for 233 orders, want 3", calls)
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("3 calls took %s, at 10 a second", took)
	}
}

func TestBatchesFitIntoAnAddress(t *testing.T) {
	t.Parallel()
	var ids []string
	for i := range 150 {
		ids = append(ids, strings.Repeat("訂", 10)+fmt.Sprint(i))
	}
	parts := batches(ids)
	if diff := cmp.Diff(ids, slices.Concat(parts...)); diff != "" {
		t.Errorf("the batches do not hold the ids (-want +got):\n%s", diff)
	}
	for _, part := range parts {
		if size := len(strings.Join(part, "")) * 3; len(part) > mostIDs || size > longestQuery {
			t.Errorf("a batch of %d ids and %d bytes, want at most %d and %d", len(part), size, mostIDs, longestQuery)
		}
	}
	if len(batches(nil)) != 0 {
		t.Error("no ids make a batch")
	}
}

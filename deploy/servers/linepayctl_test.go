package servers_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
)

// letters are the numbers of the dead letters that the world below is made with.
const (
	letterDropped  = "1"
	letterReplayed = "2"
	letterResolved = "3"
)

// parkedWorld has one payment that is done, and three commands in the dead letters.
func parkedWorld(t *testing.T) *world {
	t.Helper()
	w := startWorld(t, strings.NewReplacer())
	// A replay without a record is looked up, and that it did not happen is believed after these times.
	w.settings = []string{"READ_TIMEOUT=1s", "LOOKUP_MARGIN=0s"}
	w.startWorker(t)
	makeReaders(t, w.nats)
	w.playOnce(t, "ORDER-1")
	checkout, worker := jetStream(t, w.nats, "checkout"), jetStream(t, w.nats, "worker")
	if _, err := checkout.Publish(t.Context(), "linepay.commands.default.confirm", []byte("no command")); err != nil {
		t.Fatal(err)
	}
	consumertest.Await(t, worker, "LINEPAY_DEADLETTERS", "linepay.deadletters.>", 1)
	for _, id := range []string{"ORDER-2", "ORDER-3"} { // as a worker parks them when their retry budget is spent
		transaction := w.pay.Paid(t, id, "500", "TWD", true)
		if _, err := worker.PublishMsg(t.Context(), letterOf(id, transaction), jetstream.WithExpectStream("LINEPAY_DEADLETTERS")); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func TestLinepayctlDoesAllItNeedsAsOperator(t *testing.T) {
	t.Parallel()
	w := parkedWorld(t)
	transaction := w.pay.Paid(t, "ORDER-4", "100", "TWD", true).String()
	third := w.pay.Sim.Ledger().Transactions[2].TransactionID.String()
	for _, line := range []struct {
		args, says string
	}{
		{"status", "default"},
		{"events --order ORDER-1", "refunded"},
		{"send confirm --wait --transaction-id " + transaction + " --order-id ORDER-4 --amount 100 --currency TWD", "captured"},
		{"order ORDER-1", "refunded"},
		{"order ORDER-1 --lookup", "refunded"},
		{"verify ORDER-1 ORDER-4", ""},
		{"pause default --for 1h --because fire-drill", "is paused until"},
		{"resume default --because over", "goes on"},
		{"deadletters list", "invalid"},
		{"deadletters show " + letterReplayed, "ORDER-2"},
		{"deadletters export", "ORDER-2"},
		{"deadletters drop " + letterDropped + " --because garbage --money-unknown", ""},
		{"deadletters replay " + letterReplayed + " --dry-run", ""},
		{"deadletters replay " + letterReplayed, "captured"},
		{"doctor", "linepay-worker-default"},
	} {
		if said, code := w.ctl(t, "operator", "operator", strings.Fields(line.args)...); code != 0 || !strings.Contains(said, line.says) {
			t.Errorf("linepayctl %s: exit code %d, want 0 and %q:\n%s", line.args, code, line.says, said)
		}
	}
	// To resolve is to settle, as a worker does: it takes the worker's account at Redis.
	resolve := []string{
		"deadletters", "resolve", letterResolved, "--outcome", "done", "--transaction-id", third, "--reason", "merchant-centre",
	}
	if said, code := w.ctl(t, "operator", "operator", resolve...); code == 0 || !strings.Contains(said, "NOPERM") {
		t.Errorf("resolved with an account that reads: exit code %d:\n%s", code, said)
	}
	if said, code := w.ctl(t, "operator", "worker", resolve...); code != 0 {
		t.Errorf("resolve: exit code %d:\n%s", code, said)
	}
	w.quiet(t, "operator")
}

func TestReaderReadsAndChangesNothing(t *testing.T) {
	t.Parallel()
	w := parkedWorld(t)
	for _, args := range []string{
		"status", "events --order ORDER-1", "order ORDER-1", "verify ORDER-1", "deadletters list", "deadletters show " + letterReplayed,
		"deadletters export", "doctor", "deadletters replay " + letterReplayed + " --dry-run",
	} {
		if said, code := w.ctl(t, "reader", "operator", strings.Fields(args)...); code != 0 {
			t.Errorf("linepayctl %s: exit code %d, want 0:\n%s", args, code, said)
		}
	}
	w.quiet(t, "reader")

	before := w.everything(t)
	t.Run("refused", func(t *testing.T) { // side by side, since each waits for an answer that does not come
		for _, args := range []string{
			"send confirm --transaction-id 1 --order-id ORDER-9 --amount 1 --currency TWD",
			"pause default --for 1h --because fire-drill",
			"deadletters drop " + letterDropped + " --because garbage --money-unknown",
			"deadletters replay " + letterReplayed,
			"deadletters resolve " + letterResolved + " --outcome not-done --reason none",
		} {
			t.Run(args, func(t *testing.T) {
				t.Parallel()
				if said, code := w.ctl(t, "reader", "operator", strings.Fields(args)...); code == 0 {
					t.Errorf("it is done with an account that reads:\n%s", said)
				}
			})
		}
	})
	if after := w.everything(t); after != before {
		t.Errorf("a reader changed something: %s, before %s", after, before)
	}
}

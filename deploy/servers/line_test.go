package servers_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
)

// readers are the consumers that permissions.conf tells the operator to make, and what each of them reads.
var readers = map[string][]string{
	"checkout": {"linepay.events.*.requested.>", "linepay.events.*.captured.>", "linepay.events.*.failed.>"},
	"refunds":  {"linepay.events.*.refunded.>"},
	"ledger":   {"linepay.events.*.captured.>", "linepay.events.*.refunded.>", "linepay.events.*.authorized.>", "linepay.events.*.voided.>"},
	"keys":     {"linepay.events.*.preapproval.>"},
}

func makeReaders(t *testing.T, s *natsServer) {
	t.Helper()
	js := jetStream(t, s, "operator")
	for name, filters := range readers {
		_, err := js.CreateConsumer(t.Context(), "LINEPAY_EVENTS", jetstream.ConsumerConfig{
			Durable: name, FilterSubjects: filters, AckPolicy: jetstream.AckExplicitPolicy,
		})
		if err != nil {
			t.Fatalf("consumer %s: %v", name, err)
		}
	}
}

// order is a command's data.
type order map[string]any

// publish sends a command as a role, and wants JetStream's acknowledgement.
func publish(t *testing.T, js jetstream.JetStream, op linepay.Operation, id string, data order) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "/shop", "type": "linepay.command." + string(op) + ".v1", "data": data,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "linepay.commands.default."+string(op), body); err != nil {
		t.Fatalf("%s: %v", op, err)
	}
}

// event is what the tests read of one.
type event struct {
	Type string `json:"type"`
	Data struct {
		OrderID       string `json:"orderId"`
		TransactionID string `json:"transactionId"`
		RegKey        string `json:"regKey"`
		RefundAmount  string `json:"refundAmount"`
	} `json:"data"`
}

// next reads and acknowledges the next event of a role's consumer, as any service would.
func next(t *testing.T, js jetstream.JetStream, name string) (e event) {
	t.Helper()
	reader, err := js.Consumer(t.Context(), "LINEPAY_EVENTS", name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	msg, err := reader.Next(jetstream.FetchMaxWait(patience))
	if err != nil {
		t.Fatalf("%s: no event: %v", name, err)
	}
	if err := errors.Join(json.Unmarshal(msg.Data(), &e), msg.DoubleAck(t.Context())); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return e
}

// requestWithKey is a payment whose confirm issues a key.
func requestWithKey(id, amount string) order {
	return order{
		"amount": amount, "currency": "TWD", "orderId": id,
		"packages":     []order{{"id": "1", "amount": amount, "products": []order{{"name": "Tea", "quantity": "1", "price": amount}}}},
		"redirectUrls": order{"confirmUrl": "https://shop.example/paid", "cancelUrl": "https://shop.example/cancelled"},
		"options":      order{"payment": order{"payType": "PREAPPROVED"}},
	}
}

func startWorld(t *testing.T, change *strings.Replacer) *world {
	t.Helper()
	return &world{nats: withPermissions(t, t.TempDir(), change), redis: startRedis(t), pay: consumertest.Simulator(t)}
}

// playOnce takes one payment through its life, with everybody in their role: ordered, paid, confirmed, given back in part.
func (w *world) playOnce(t *testing.T, id string) (key string) {
	t.Helper()
	checkout, refunds := jetStream(t, w.nats, "checkout"), jetStream(t, w.nats, "refunds")
	ledger, keys := jetStream(t, w.nats, "ledger"), jetStream(t, w.nats, "keys")

	publish(t, checkout, linepay.Request, "request-"+id, requestWithKey(id, "1000"))
	transaction := next(t, checkout, "checkout").Data.TransactionID
	number, err := linepay.ParseTransactionID(transaction)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.pay.Sim.Authenticate(number); err != nil {
		t.Fatal(err)
	}
	publish(t, checkout, linepay.Confirm, "confirm-"+id, order{
		"transactionId": transaction, "orderId": id, "amount": "1000", "currency": "TWD",
	})
	if e := next(t, checkout, "checkout"); e.Type != "linepay.event.captured.v1" || e.Data.TransactionID != transaction {
		t.Fatalf("the confirm is answered by %+v", e)
	}
	publish(t, refunds, linepay.Refund, "refund-"+id, order{
		"transactionId": transaction, "orderId": id, "refundAmount": "400", "refundId": "R-" + id,
	})
	if e := next(t, refunds, "refunds"); e.Data.RefundAmount != "400" {
		t.Fatalf("the refund is answered by %+v", e)
	}
	for _, want := range []string{"linepay.event.captured.v1", "linepay.event.refunded.v1"} {
		if e := next(t, ledger, "ledger"); e.Type != want || e.Data.OrderID != id || e.Data.RegKey != "" {
			t.Fatalf("the ledger reads %+v, want %s of %s without a key", e, want, id)
		}
	}
	e := next(t, keys, "keys")
	if e.Data.RegKey == "" {
		t.Fatalf("the keeper of keys reads %+v, want a key", e)
	}
	return e.Data.RegKey
}

// quiet fails where NATS has refused something to somebody who was only doing their work.
func (w *world) quiet(t *testing.T, roles ...string) {
	t.Helper()
	for _, role := range roles {
		if refused := w.nats.refused(role); len(refused) > 0 {
			t.Errorf("%s was refused: %q", role, refused)
		}
	}
}

func TestLineRunsWithTheRightsOfItsRoles(t *testing.T) {
	t.Parallel()
	w := startWorld(t, strings.NewReplacer())
	worker := w.startWorker(t)
	makeReaders(t, w.nats)
	key := w.playOnce(t, "ORDER-1")

	// A key pays and expires; what cannot be read is parked.
	checkout := jetStream(t, w.nats, "checkout")
	publish(t, checkout, linepay.PreapprovedPay, "pay-1", order{
		"regKey": key, "orderId": "ORDER-2", "productName": "Tea", "amount": "50", "currency": "TWD",
	})
	if e := next(t, checkout, "checkout"); e.Data.OrderID != "ORDER-2" || e.Type != "linepay.event.captured.v1" {
		t.Errorf("a payment by key is answered by %+v", e)
	}
	if _, err := checkout.Publish(t.Context(), "linepay.commands.default.confirm", []byte("no command")); err != nil {
		t.Fatal(err)
	}
	operator := jetStream(t, w.nats, "operator")
	consumertest.Await(t, operator, "LINEPAY_DEADLETTERS", "linepay.deadletters.>", 1)
	w.steal(t, key)
	w.watch(t, worker)
	if code := worker.stop(t); code != 0 {
		t.Errorf("the worker's exit code is %d:\n%s", code, worker.said())
	}
	w.quiet(t, "checkout", "refunds", "keys", "worker", "operator")
	if strings.Contains(worker.said(), "ermission") {
		t.Errorf("the worker lacks rights:\n%s", worker.said())
	}
}

// watch scrapes the worker's metrics, for which it looks at all that NATS and Redis hold.
func (w *world) watch(t *testing.T, worker *process) {
	t.Helper()
	address := regexp.MustCompile(`"address":"([^"]+)"`).FindStringSubmatch(worker.said())
	if address == nil {
		t.Fatalf("the worker does not say where its metrics are:\n%s", worker.said())
	}
	var text string
	told := func(ctx context.Context) bool {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address[1]+"/metrics", nil)
		if err != nil {
			return false
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		all, err := io.ReadAll(response.Body)
		text = string(all)
		return err == nil && strings.Contains(text, `linepay_server_answers{server="nats"} 1`) &&
			strings.Contains(text, `linepay_server_answers{server="redis"} 1`) &&
			strings.Contains(text, `linepay_dead_letters{channel="default",reason="invalid"} 1`)
	}
	if !consumertest.Eventually(t, told) {
		t.Errorf("the worker may not look at what it stands on:\n%s", text)
	}
	http.DefaultClient.CloseIdleConnections()
}

// steal is what a ledger that was taken over tries, to get at a key and to give money away.
func (w *world) steal(t *testing.T, key string) {
	t.Helper()
	thief := connect(t, w.nats, "ledger")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	js, err := jetstream.New(thief)
	if err != nil {
		t.Fatal(err)
	}
	for what, try := range map[string]func() error{
		"a reader of all events": func() error {
			all := jetstream.ConsumerConfig{Durable: "ledger", FilterSubject: "linepay.events.>"}
			_, err := js.CreateOrUpdateConsumer(ctx, "LINEPAY_EVENTS", all)
			return err
		},
		"a reader of two kinds of events": func() error {
			filters := []string{"linepay.events.*.captured.>", "linepay.events.*.preapproval.>"}
			_, err := js.CreateOrUpdateConsumer(ctx, "LINEPAY_EVENTS", jetstream.ConsumerConfig{Durable: "ledger", FilterSubjects: filters})
			return err
		},
		"the key's event": func() error {
			last := []byte(`{"last_by_subj":"linepay.events.*.preapproval.>"}`)
			_, err := thief.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET.LINEPAY_EVENTS", last)
			return err
		},
		"a refund": func() error {
			_, err := js.Publish(ctx, "linepay.commands.default.refund", []byte("{}"))
			return err
		},
	} {
		if err := try(); err == nil {
			t.Errorf("the ledger gets %s", what)
		}
	}
	for _, name := range []string{"ledger", "checkout", "refunds"} {
		for _, filter := range readers[name] {
			for _, msg := range consumertest.Collect(t, jetStream(t, w.nats, "operator"), "LINEPAY_EVENTS", filter) {
				if strings.Contains(string(msg.Data), key) {
					t.Errorf("%s reads a key on %s", name, msg.Subject)
				}
			}
		}
	}
}

// Where the streams and consumers are there, the worker needs no right to make any.
func TestLineRunsWithoutTheRightToMakeStreams(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	first := &world{nats: withPermissions(t, disk, strings.NewReplacer()), redis: startRedis(t), pay: consumertest.Simulator(t)}
	maker := first.startWorker(t)
	makeReaders(t, first.nats)
	if code := maker.stop(t); code != 0 {
		t.Fatalf("the worker's exit code is %d:\n%s", code, maker.said())
	}
	first.nats.Shutdown()
	first.nats.WaitForShutdown()

	var without []string
	for _, stream := range []string{"COMMANDS", "EVENTS", "DEADLETTERS", "AUDIT"} {
		without = append(without, `"$JS.API.STREAM.CREATE.LINEPAY_`+stream+`"`, `"nothing"`)
	}
	without = append(without, `"$JS.API.CONSUMER.CREATE.LINEPAY_COMMANDS.>"`, `"nothing"`)
	w := &world{nats: withPermissions(t, disk, strings.NewReplacer(without...)), redis: first.redis, pay: first.pay}
	worker := w.startWorker(t, "--no-provision")
	w.playOnce(t, "ORDER-1")
	if code := worker.stop(t); code != 0 {
		t.Errorf("the worker's exit code is %d:\n%s", code, worker.said())
	}
	w.quiet(t, "worker")
	if attempt(t, w.nats, "worker", func(conn *nats.Conn) error { return conn.Publish("$JS.API.STREAM.CREATE.LINEPAY_EVENTS", nil) }) {
		t.Error("the worker may make streams")
	}
}

// JetStream delivers what is pulled to any subject that is asked for, that of a command included. What the worker has stored is not taken
// there: it says which stream it is for.
func TestWhatIsDeliveredToACommandsSubjectIsNoCommand(t *testing.T) {
	t.Parallel()
	w := startWorld(t, strings.NewReplacer())
	w.startWorker(t)
	makeReaders(t, w.nats)
	w.playOnce(t, "ORDER-1")
	checkout, operator, reader := jetStream(t, w.nats, "checkout"), jetStream(t, w.nats, "operator"), jetStream(t, w.nats, "reader")
	if _, err := checkout.Publish(t.Context(), "linepay.commands.default.confirm", []byte("no command")); err != nil {
		t.Fatal(err)
	}
	consumertest.Await(t, operator, "LINEPAY_DEADLETTERS", "linepay.deadletters.>", 1)
	for _, stream := range []string{"LINEPAY_DEADLETTERS", "LINEPAY_EVENTS"} {
		made, err := reader.CreateConsumer(t.Context(), stream, jetstream.ConsumerConfig{
			Name: "thief", AckPolicy: jetstream.AckExplicitPolicy, InactiveThreshold: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		pull := nats.NewMsg("$JS.API.CONSUMER.MSG.NEXT." + stream + ".thief")
		pull.Reply, pull.Data = "linepay.commands.default.refund", []byte(`{"batch":10}`)
		if err := errors.Join(reader.Conn().PublishMsg(pull), reader.Conn().Flush()); err != nil {
			t.Fatal(err)
		}
		if !consumertest.Eventually(t, func(ctx context.Context) bool {
			info, err := made.Info(ctx)
			return err == nil && info.NumPending == 0 && info.Delivered.Stream > 0
		}) {
			t.Errorf("nothing of %s was delivered", stream)
		}
	}
	commands, err := operator.Stream(t.Context(), "LINEPAY_COMMANDS")
	if err != nil {
		t.Fatal(err)
	}
	if last := commands.CachedInfo().State.LastSeq; last != 4 {
		t.Errorf("%d commands were stored, want the four that were published", last)
	}
}

// JetStream answers to any subject, too. Its answers are no commands, events, dead letters or audit entries, and the line goes on beside them.
func TestAnswersOfJetStreamInTheStreamsStopNothing(t *testing.T) {
	t.Parallel()
	w := startWorld(t, strings.NewReplacer())
	worker := w.startWorker(t)
	makeReaders(t, w.nats)
	thief, operator := connect(t, w.nats, "keys"), jetStream(t, w.nats, "operator")
	for stream, subject := range map[string]string{
		"LINEPAY_EVENTS": "linepay.events.default.captured.ORDER-1", "LINEPAY_AUDIT": "linepay.audit.default.pause",
		"LINEPAY_DEADLETTERS": "linepay.deadletters.default.refund", "LINEPAY_COMMANDS": "linepay.commands.default.refund",
	} {
		ask := nats.NewMsg("$JS.API.CONSUMER.INFO.LINEPAY_EVENTS.keys")
		ask.Reply = subject
		if err := errors.Join(thief.PublishMsg(ask), thief.Flush()); err != nil {
			t.Fatal(err)
		}
		if stream != "LINEPAY_COMMANDS" { // where the worker takes it away
			consumertest.Await(t, operator, stream, subject, 1)
		}
	}
	// Beside the one that was answered there, the worker parks what was answered as a command.
	consumertest.Await(t, operator, "LINEPAY_DEADLETTERS", "linepay.deadletters.default.refund", 2)
	if ledger := w.pay.Sim.Ledger(); len(ledger.Calls) != 0 {
		t.Errorf("LINE Pay was called: %+v", ledger.Calls)
	}
	transaction := w.pay.Paid(t, "ORDER-1", "500", "TWD", true)
	publish(t, jetStream(t, w.nats, "checkout"), linepay.Confirm, "confirm-1", order{
		"transactionId": transaction, "orderId": "ORDER-1", "amount": "500", "currency": "TWD",
	})
	consumertest.Await(t, operator, "LINEPAY_EVENTS", "linepay.events.default.captured.ORDER-1", 2)
	for _, args := range [][]string{{"status"}, {"deadletters", "list"}, {"events", "--event", "captured"}, {"order", "ORDER-1"}} {
		if said, code := w.ctl(t, "operator", "operator", args...); code != 0 {
			t.Errorf("linepayctl %v: exit code %d:\n%s", args, code, said)
		}
	}
	if code := worker.stop(t); code != 0 {
		t.Errorf("the worker's exit code is %d:\n%s", code, worker.said())
	}
}

func TestExamplesRunWithTheRightsOfTheirRoles(t *testing.T) {
	t.Parallel()
	w := startWorld(t, strings.NewReplacer())
	w.startWorker(t)
	makeReaders(t, w.nats)
	as := func(role string) []string {
		return []string{"NATS_URL=" + url(w.nats, role), "NATS_INBOX_PREFIX=_INBOX." + role}
	}
	ledger := start(t, as("ledger"), filepath.Join(programs, "ledger"))
	transaction := w.pay.Paid(t, "ORDER-1", "1000", "TWD", true).String()
	checkout := start(t, as("checkout"), filepath.Join(programs, "checkout"), "ORDER-1", transaction, "1000", "TWD")
	<-checkout.ended
	if said := checkout.said(); !strings.HasPrefix(said, "ordered: command confirm-"+transaction) {
		t.Errorf("checkout said %q", said)
	}
	ledger.await(t, "booked linepay.event.captured.v1 ORDER-1 "+transaction+" 1000 TWD")
	w.quiet(t, "checkout", "ledger")
}

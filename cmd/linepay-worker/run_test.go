package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// servers are what a worker needs, all real but LINE Pay.
type servers struct {
	nats  *consumertest.NATSServer
	redis *consumertest.RedisServer
	pay   *consumertest.LINEPay
	js    jetstream.JetStream
}

func startServers(t *testing.T) *servers {
	t.Helper()
	s := &servers{nats: consumertest.NATS(t), redis: consumertest.Redis(t), pay: consumertest.Simulator(t)}
	s.js = s.nats.JetStream(t)
	return s
}

func (s *servers) env() []string {
	return []string{
		"NATS_URL=" + s.nats.URL(), "REDIS_URL=" + s.redis.URL(), "LINEPAY_BASE_URL=" + s.pay.URL,
		"LINEPAY_CHANNEL_ID=" + s.pay.ChannelID, "LINEPAY_CHANNEL_SECRET=" + s.pay.Secret.Reveal(),
		"ADMIN_ADDR=127.0.0.1:0", "LOG_LEVEL=debug", "CONCURRENCY=8",
	}
}

// send publishes a command as any NATS client would.
func (s *servers) send(t *testing.T, op linepay.Operation, id string, data map[string]any) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "/shop", "type": "linepay.command." + string(op) + ".v1", "data": data,
	})
	if err != nil {
		t.Fatal(err)
	}
	msg := nats.NewMsg("linepay.commands.default." + string(op))
	msg.Header.Set("Content-Type", "application/cloudevents+json")
	msg.Data = body
	if _, err := s.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

// eventData is what the tests read of an event.
type eventData struct {
	Data struct {
		OrderID       string `json:"orderId"`
		TransactionID string `json:"transactionId"`
		Amount        string `json:"amount"`
		RegKey        string `json:"regKey"`
	} `json:"data"`
}

func (s *servers) event(t *testing.T, subject string) eventData {
	t.Helper()
	var e eventData
	if err := json.Unmarshal(consumertest.Await(t, s.js, "LINEPAY_EVENTS", subject, 1)[0].Data, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// ready waits until the worker says that it is, and gives the address of its admin server.
func ready(t *testing.T, p *process) (admin string) {
	t.Helper()
	admin = "http://" + p.awaitLog(t, "serving /healthz, /readyz and /metrics").Address
	awaitAnswer(t, p, admin+"/readyz", func(status int, _ string) bool { return status == http.StatusOK })
	return admin
}

// awaitAnswer asks until the answer is as wanted.
func awaitAnswer(t *testing.T, p *process, url string, wanted func(status int, body string) bool) {
	t.Helper()
	var last string
	if !consumertest.Eventually(t, func(ctx context.Context) bool {
		status, body, err := get(ctx, p, url)
		last = fmt.Sprint(status, body, err)
		return err == nil && wanted(status, body)
	}) {
		t.Fatalf("%s never answered as wanted, at last: %s\n%s", url, last, p.said())
	}
}

func get(ctx context.Context, p *process, url string) (status int, body string, err error) {
	if p.gone() {
		return 0, "", errGone
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

func TestCommandBecomesAnEventAndNoSecretIsWritten(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	worker := start(t, s.env())
	admin := ready(t, worker)

	transaction := s.payWithKey(t, "ORDER-1")
	s.send(t, linepay.Confirm, "c-1", map[string]any{"transactionId": transaction, "orderId": "ORDER-1", "amount": 100, "currency": "TWD"})
	captured := s.event(t, "linepay.events.default.captured.ORDER-1")
	if captured.Data.TransactionID != transaction.String() || captured.Data.Amount != "100" {
		t.Errorf("captured %+v, want 100 of transaction %s", captured.Data, transaction)
	}
	key := s.event(t, "linepay.events.default.preapproval.ORDER-1").Data.RegKey
	if key == "" {
		t.Fatal("the event has no key")
	}
	s.send(t, linepay.PreapprovedPay, "p-1", map[string]any{"regKey": key, "orderId": "ORDER-2", "productName": "A book", "amount": "50", "currency": "TWD"})
	s.event(t, "linepay.events.default.captured.ORDER-2")
	s.send(t, linepay.PreapprovedExpire, "e-1", map[string]any{"regKey": key})
	s.event(t, "linepay.events.default.preapproval._")
	s.send(t, linepay.PreapprovedPay, "p-2", map[string]any{"regKey": key, "orderId": "ORDER-3", "productName": "A book", "amount": "50", "currency": "TWD"})
	s.event(t, "linepay.events.default.failed.ORDER-3")

	_, metrics, err := get(t.Context(), worker, admin+"/metrics")
	if err != nil || !strings.Contains(metrics, `linepay_commands_handled_total{channel="default",fate="ack",operation="confirm",outcome="captured"} 1`) ||
		!strings.Contains(metrics, "go_goroutines") || !strings.Contains(metrics, "process_open_fds") {
		t.Errorf("metrics lack the confirm, or those of Go and the process (error %v):\n%s", err, metrics)
	}
	if code := worker.stop(t); code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, worker.said())
	}
	// Acknowledgements that were sent just before the end have arrived.
	if left := consumertest.Collect(t, s.js, "LINEPAY_COMMANDS", ">"); len(left) != 0 {
		t.Errorf("%d commands are left in the stream, want none", len(left))
	}
	worker.awaitLog(t, "starting")
	worker.awaitLog(t, "ended: nothing is left in flight")
	channel := worker.awaitLog(t, "channel")
	if channel.Channel != "default" || "http://"+channel.Host != s.pay.URL || channel.Concurrency != 8 {
		t.Errorf("the channel's line is %+v, want its name, its host and the concurrency of 8", channel)
	}
	for name, secret := range map[string]string{"channel secret": s.pay.Secret.Reveal(), "regKey": key} {
		if strings.Contains(worker.said(), secret) {
			t.Errorf("the worker wrote the %s:\n%s", name, worker.said())
		}
	}
}

// payWithKey is a payment that the customer has paid, and whose confirm will issue a key.
func (s *servers) payWithKey(t *testing.T, order string) linepay.TransactionID {
	t.Helper()
	request := consumertest.Order(order, "100", "TWD")
	request.Options = &linepay.RequestOptions{Payment: &linepay.PaymentOptions{PayType: "PREAPPROVED"}}
	answer, err := s.pay.Client(t).Request(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.pay.Sim.Authenticate(answer.TransactionID); err != nil {
		t.Fatal(err)
	}
	return answer.TransactionID
}

func TestEveryMetricThatIsServedIsDocumented(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	worker := start(t, s.env())
	admin := ready(t, worker)
	_, metrics, err := get(t.Context(), worker, admin+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	served := regexp.MustCompile(`(?m)^# TYPE (linepay_\w+) (\w+)$`).FindAllStringSubmatch(metrics, -1)
	for _, found := range served {
		if !strings.Contains(app.MetricsTable(), "| `"+found[1]+"` | "+found[2]+" |") {
			t.Errorf("the table of metrics has no %s %s", found[2], found[1])
		}
	}
	if len(served) < 20 {
		t.Errorf("%d metrics are served, want many", len(served))
	}
}

func TestTermFinishesTheCallInFlightAndSaysSo(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	worker := start(t, s.env())
	admin := ready(t, worker)
	// Long enough to be seen in flight, and far shorter than the grace.
	fault := simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDelay, When: simulator.After, Delay: 2 * time.Second}
	if err := s.pay.Sim.AddFault(fault); err != nil {
		t.Fatal(err)
	}
	transaction := s.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	s.send(t, linepay.Confirm, "c-1", map[string]any{"transactionId": transaction, "orderId": "ORDER-1", "amount": "100", "currency": "TWD"})
	awaitAnswer(t, worker, admin+"/metrics", func(_ int, metrics string) bool {
		return strings.Contains(metrics, `linepay_commands_in_flight{channel="default"} 1`)
	})
	worker.terminate(t)
	awaitAnswer(t, worker, admin+"/readyz", func(status int, body string) bool {
		return status == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
	})
	if code := worker.end(); code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, worker.said())
	}
	if e := s.event(t, "linepay.events.default.*.ORDER-1"); e.Data.TransactionID != transaction.String() {
		t.Errorf("event %+v, want that of transaction %s", e, transaction)
	}
	if left := consumertest.Collect(t, s.js, "LINEPAY_COMMANDS", ">"); len(left) != 0 {
		t.Errorf("%d commands are left in the stream, want none", len(left))
	}
}

func TestReadinessSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	worker := start(t, s.env())
	admin := ready(t, worker)
	s.redis.Stop()
	awaitAnswer(t, worker, admin+"/readyz", func(status int, body string) bool {
		return status == http.StatusServiceUnavailable && strings.Contains(body, "a write to Redis fails")
	})
	s.redis.Start()
	awaitAnswer(t, worker, admin+"/readyz", func(status int, _ string) bool { return status == http.StatusOK })
	// A replica answers pings, but no claim could be made there.
	if err := s.redis.Client(t).ReplicaOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	awaitAnswer(t, worker, admin+"/readyz", func(status int, body string) bool {
		return status == http.StatusServiceUnavailable && strings.Contains(body, "READONLY")
	})
	if err := s.redis.Client(t).ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	s.nats.Stop()
	awaitAnswer(t, worker, admin+"/readyz", func(status int, body string) bool {
		return status == http.StatusServiceUnavailable && strings.Contains(body, "NATS is not connected")
	})
	if status, _, err := get(t.Context(), worker, admin+"/healthz"); err != nil || status != http.StatusOK {
		t.Errorf("/healthz answers %d (error %v) without NATS, want 200: a restart would not help", status, err)
	}
	if code := worker.stop(t); code != 0 {
		t.Errorf("exit code %d after the loss of NATS, want 0:\n%s", code, worker.said())
	}
}

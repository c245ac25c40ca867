package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// reloading is a worker with a file of channels, and what it stands between.
type reloading struct {
	*servers
	dir    string
	worker *process
	admin  string
}

// startReloading starts a worker with a file of channels. The folder has the secret of the simulator in pay.secret.
func startReloading(t *testing.T, channels string) *reloading {
	t.Helper()
	r := &reloading{servers: startServers(t), dir: t.TempDir()}
	r.write(t, "pay.secret", r.pay.Secret.Reveal())
	r.write(t, "channels.yaml", r.fill(channels))
	r.worker = start(t, []string{
		"NATS_URL=" + r.nats.URL(), "REDIS_URL=" + r.redis.URL(), "LINEPAY_CHANNELS=" + filepath.Join(r.dir, "channels.yaml"),
		"ADMIN_ADDR=127.0.0.1:0", "CONCURRENCY=8",
	})
	r.admin = ready(t, r.worker)
	return r
}

// fill writes the simulator's address in the place of PAY.
func (r *reloading) fill(channels string) string {
	return strings.ReplaceAll(channels, "PAY", r.pay.URL)
}

func (r *reloading) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload tells the worker to read the channels again, and waits until it has, well or badly.
func (r *reloading) reload(t *testing.T, outcome string) {
	t.Helper()
	before := strings.Count(r.worker.said(), outcome)
	if err := r.worker.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if !consumertest.Eventually(t, func(context.Context) bool { return strings.Count(r.worker.said(), outcome) > before }) {
		t.Fatalf("the worker never said that %s:\n%s", outcome, r.worker.said())
	}
}

const (
	reloaded    = "the channels were reloaded"
	notReloaded = "the channels were not reloaded: they are served as before"

	oneChannel = "channels:\n- {name: default, id: \"1650000001\", secretFile: pay.secret, baseURL: \"PAY\"}\n"
)

func TestSecretIsRotatedUnderLoadAndNoCommandFailsOrIsDoubled(t *testing.T) {
	t.Parallel()
	const commands = 240
	for name, accepts := range map[string]func(old, next linepay.Secret) []linepay.Secret{
		"both secrets for a while": func(old, next linepay.Secret) []linepay.Secret { return []linepay.Secret{next, old} },
		"one secret at a time":     func(_, next linepay.Secret) []linepay.Secret { return []linepay.Secret{next} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const next = linepay.Secret("fedcba9876543210fedcba9876543210")
			r := startReloading(t, oneChannel)
			slow := simulator.Fault{
				Operation: linepay.Confirm, Kind: simulator.KindDelay, When: simulator.After, Delay: 50 * time.Millisecond, Count: -1,
			}
			var payments []linepay.TransactionID
			for i := range commands {
				payments = append(payments, r.pay.Paid(t, fmt.Sprint("ORDER-", i), "100", "TWD", true))
			}
			if err := r.pay.Sim.AddFault(slow); err != nil { // so that calls are in flight at every moment
				t.Fatal(err)
			}
			order := func(from, to int) {
				for i := from; i < to; i++ {
					r.send(t, linepay.Confirm, fmt.Sprint("c-", i), map[string]any{
						"transactionId": payments[i], "orderId": fmt.Sprint("ORDER-", i), "amount": "100", "currency": "TWD",
					})
				}
			}
			captured := func(count int) {
				consumertest.Await(t, r.js, "LINEPAY_EVENTS", "linepay.events.default.captured.>", count)
			}
			order(0, commands/2)
			captured(commands / 8)
			if err := r.pay.Sim.SetSecrets(r.pay.ChannelID, accepts(r.pay.Secret, next)...); err != nil {
				t.Fatal(err)
			}
			order(commands/2, commands)
			r.write(t, "pay.secret", next.Reveal()+"\n")
			r.reload(t, reloaded)
			captured(commands)

			if all := consumertest.Collect(t, r.js, "LINEPAY_EVENTS", ">"); len(all) != commands {
				t.Errorf("%d events, want one for each of %d commands", len(all), commands)
			}
			for _, transaction := range r.pay.Sim.Ledger().Transactions {
				if len(transaction.Effects) != 1 {
					t.Errorf("order %s has %d effects, want one", transaction.OrderID, len(transaction.Effects))
				}
			}
			if code := r.worker.stop(t); code != 0 {
				t.Errorf("exit code %d:\n%s", code, r.worker.said())
			}
			for _, secret := range []linepay.Secret{r.pay.Secret, next} {
				if strings.Contains(r.worker.said(), secret.Reveal()) {
					t.Errorf("the worker wrote a secret:\n%s", r.worker.said())
				}
			}
		})
	}
}

// Where LINE Pay has the new secret long before the worker, the channel is suspended; the secret ends that at once, and nothing was parked.
func TestNewSecretEndsASuspension(t *testing.T) {
	t.Parallel()
	const next = linepay.Secret("fedcba9876543210fedcba9876543210")
	r := startReloading(t, strings.ReplaceAll(oneChannel, "}", ", breaker: {pause: 1h}}"))
	transaction := r.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	if err := r.pay.Sim.SetSecrets(r.pay.ChannelID, next); err != nil {
		t.Fatal(err)
	}
	r.send(t, linepay.Confirm, "c-1", map[string]any{"transactionId": transaction, "orderId": "ORDER-1", "amount": "100", "currency": "TWD"})
	awaitAnswer(t, r.worker, r.admin+"/readyz", func(status int, body string) bool {
		return status == http.StatusServiceUnavailable && strings.Contains(body, "1106")
	})
	r.write(t, "pay.secret", next.Reveal())
	r.reload(t, reloaded)
	if e := r.event(t, "linepay.events.default.*.ORDER-1"); e.Data.TransactionID != transaction.String() {
		t.Errorf("event %+v, want that of transaction %s", e, transaction)
	}
	awaitAnswer(t, r.worker, r.admin+"/readyz", func(status int, _ string) bool { return status == http.StatusOK })
}

func TestChannelsComeAndGoWithoutDroppingACall(t *testing.T) {
	t.Parallel()
	r := startReloading(t, oneChannel)
	second := consumertest.Simulator(t)
	th := fmt.Sprintf("- {name: th, id: %q, secret: %s, baseURL: %q, concurrency: CONCURRENCY}\n",
		second.ChannelID, second.Secret.Reveal(), second.URL)
	confirm := func(channel string, pay *consumertest.LINEPay, order string) {
		t.Helper()
		transaction := pay.Paid(t, order, "100", "TWD", true)
		body := fmt.Sprintf(`{"specversion":"1.0","id":"c-%s","source":"/shop","type":"linepay.command.confirm.v1",`+
			`"data":{"transactionId":"%d","orderId":"%s","amount":"100","currency":"TWD"}}`, order, transaction, order)
		if _, err := r.js.Publish(t.Context(), "linepay.commands."+channel+".confirm", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	answered := func(channel, order string) {
		t.Helper()
		consumertest.Await(t, r.js, "LINEPAY_EVENTS", "linepay.events."+channel+".captured."+order, 1)
	}
	inHand := func(channel string) {
		t.Helper()
		awaitAnswer(t, r.worker, r.admin+"/metrics", func(_ int, metrics string) bool {
			return strings.Contains(metrics, `linepay_commands_in_flight{channel="`+channel+`"} 1`)
		})
	}
	slow := simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDelay, When: simulator.After, Delay: 2 * time.Second}

	// A channel comes.
	r.write(t, "channels.yaml", r.fill(oneChannel)+strings.ReplaceAll(th, "CONCURRENCY", "4"))
	r.reload(t, reloaded)
	confirm("th", second, "ORDER-1")
	answered("th", "ORDER-1")
	confirm("default", r.pay, "ORDER-2")
	answered("default", "ORDER-2")

	// One changes, with a call in flight.
	if err := second.Sim.AddFault(slow); err != nil {
		t.Fatal(err)
	}
	confirm("th", second, "ORDER-3")
	inHand("th")
	r.write(t, "channels.yaml", r.fill(oneChannel)+strings.ReplaceAll(th, "CONCURRENCY", "2"))
	r.reload(t, reloaded)
	confirm("th", second, "ORDER-4")
	answered("th", "ORDER-4")
	answered("th", "ORDER-3")

	// One goes, with a call in flight; what comes later waits.
	if err := r.pay.Sim.AddFault(slow); err != nil {
		t.Fatal(err)
	}
	confirm("default", r.pay, "ORDER-5")
	inHand("default")
	r.write(t, "channels.yaml", "channels:\n"+strings.ReplaceAll(th, "CONCURRENCY", "2"))
	r.reload(t, reloaded)
	answered("default", "ORDER-5")
	awaitAnswer(t, r.worker, r.admin+"/readyz", func(_ int, body string) bool { return !strings.Contains(body, "channel default") })
	awaitAnswer(t, r.worker, r.admin+"/metrics", func(_ int, metrics string) bool {
		return !strings.Contains(metrics, `channel="default"`) && strings.Contains(metrics, `channel="th"`)
	})
	r.restsUntilItIsBack(t, func() { confirm("default", r.pay, "ORDER-6") })
	r.write(t, "channels.yaml", r.fill(oneChannel))
	r.reload(t, reloaded)
	answered("default", "ORDER-6")

	if all := consumertest.Collect(t, r.js, "LINEPAY_EVENTS", ">"); len(all) != 6 {
		t.Errorf("%d events, want one for each of six commands", len(all))
	}
	if code := r.worker.stop(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, r.worker.said())
	}
}

// restsUntilItIsBack sends a command that nobody takes, though the consumer is there.
func (r *reloading) restsUntilItIsBack(t *testing.T, send func()) {
	t.Helper()
	consumer, err := r.js.Consumer(t.Context(), "LINEPAY_COMMANDS", "linepay-worker-default")
	if err != nil {
		t.Fatalf("the consumer of a channel that is gone: %v", err)
	}
	if !consumertest.Eventually(t, func(ctx context.Context) bool { return idle(ctx, consumer) }) {
		t.Fatal("the worker still pulls for a channel that is gone")
	}
	send()
	if info, err := consumer.Info(t.Context()); err != nil || info.NumPending != 1 || info.NumAckPending != 0 {
		t.Errorf("consumer %+v, error %v, want a command that waits", info, err)
	}
}

// idle says that nobody pulls.
func idle(ctx context.Context, consumer jetstream.Consumer) bool {
	info, err := consumer.Info(ctx)
	return err == nil && info.NumWaiting == 0 && info.NumAckPending == 0
}

func TestFileThatIsWrongLeavesTheChannelsAsTheyWere(t *testing.T) {
	t.Parallel()
	r := startReloading(t, oneChannel)
	missing := "- {name: th, id: \"1\", secretFile: none, baseURL: \"https://host\"}\n"
	for content, want := range map[string]string{
		"channels:\n- name: default\n  colour: red\n": `channels.yaml:3:3: unknown setting \"colour\"`,
		r.fill(oneChannel) + missing:                  `channels.yaml:3:35: channel \"th\": secretFile `,
		"":                                            "holds no channels",
	} {
		r.write(t, "channels.yaml", content)
		r.reload(t, notReloaded)
		if !strings.Contains(r.worker.said(), want) {
			t.Errorf("the log does not say %s:\n%s", want, r.worker.said())
		}
		awaitAnswer(t, r.worker, r.admin+"/readyz", func(status int, body string) bool {
			return status == http.StatusOK && strings.Contains(body, "served as before the last reload, which failed: ") &&
				strings.Contains(body, "channel default")
		})
		awaitAnswer(t, r.worker, r.admin+"/metrics", func(_ int, metrics string) bool {
			return strings.Contains(metrics, "\nlinepay_channels_last_reload_successful 0\n")
		})
	}
	transaction := r.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	r.send(t, linepay.Confirm, "c-1", map[string]any{"transactionId": transaction, "orderId": "ORDER-1", "amount": "100", "currency": "TWD"})
	r.event(t, "linepay.events.default.captured.ORDER-1")

	r.write(t, "channels.yaml", r.fill(oneChannel))
	r.reload(t, reloaded)
	awaitAnswer(t, r.worker, r.admin+"/metrics", func(_ int, metrics string) bool {
		return strings.Contains(metrics, "\nlinepay_channels_last_reload_successful 1\n")
	})
	awaitAnswer(t, r.worker, r.admin+"/readyz", func(_ int, body string) bool { return strings.Contains(body, "served as configured") })
}

// A channel that no worker could serve is not taken, and neither is what stands beside it.
func TestChannelThatCannotBeServedLeavesTheChannelsAsTheyWere(t *testing.T) {
	t.Parallel()
	r := startReloading(t, oneChannel)
	if _, err := r.js.CreateConsumer(t.Context(), "LINEPAY_COMMANDS", jetstream.ConsumerConfig{
		Durable: "linepay-worker-th", FilterSubject: "linepay.commands.th.*", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 3,
	}); err != nil {
		t.Fatal(err)
	}
	r.write(t, "channels.yaml", "channels:\n- {name: th, id: \"1\", secret: x, baseURL: \"https://host\"}\n"+
		"- {name: jp, id: \"2\", secret: x, baseURL: \"https://host\"}\n")
	r.reload(t, notReloaded)
	if want := "channel th: consumer linepay-worker-th: it gives a command up after 3 deliveries"; !strings.Contains(r.worker.said(), want) {
		t.Errorf("the log does not say %q:\n%s", want, r.worker.said())
	}
	awaitAnswer(t, r.worker, r.admin+"/readyz", func(status int, body string) bool {
		return status == http.StatusOK && strings.Contains(body, "channel default") && !strings.Contains(body, "channel jp")
	})
}

// Each channel has a consumer, slots, a breaker and a pause of its own.
func TestChannelInTroubleHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	second, third := consumertest.Simulator(t), consumertest.Simulator(t)
	r := startReloading(t, oneChannel+fmt.Sprintf(
		"- {name: busy, id: %q, secret: %s, baseURL: %q, concurrency: 1}\n- {name: refused, id: %q, secret: another, baseURL: %q}\n",
		second.ChannelID, second.Secret.Reveal(), second.URL, third.ChannelID, third.URL))
	slow := simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDelay, When: simulator.After, Delay: 15 * time.Second, Count: -1}
	if err := second.Sim.AddFault(slow); err != nil {
		t.Fatal(err)
	}
	for channel, pay := range map[string]*consumertest.LINEPay{"busy": second, "refused": third} {
		for i := range 3 {
			order := fmt.Sprint("ORDER-", i)
			body := fmt.Sprintf(`{"specversion":"1.0","id":"c-%d","source":"/shop","type":"linepay.command.confirm.v1",`+
				`"data":{"transactionId":"%d","orderId":"%s","amount":"100","currency":"TWD"}}`, i, pay.Paid(t, order, "100", "TWD", true), order)
			if _, err := r.js.Publish(t.Context(), "linepay.commands."+channel+".confirm", []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	awaitAnswer(t, r.worker, r.admin+"/readyz", func(_ int, body string) bool { return strings.Contains(body, "1106") })
	awaitAnswer(t, r.worker, r.admin+"/metrics", func(_ int, metrics string) bool {
		return strings.Contains(metrics, `linepay_commands_in_flight{channel="busy"} 1`) &&
			strings.Contains(metrics, `linepay_commands_in_flight{channel="default"} 0`)
	})
	transaction := r.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	r.send(t, linepay.Confirm, "c-1", map[string]any{"transactionId": transaction, "orderId": "ORDER-1", "amount": "100", "currency": "TWD"})
	r.event(t, "linepay.events.default.captured.ORDER-1")
	if told := consumertest.Collect(t, r.js, "LINEPAY_EVENTS", ">"); len(told) != 1 {
		t.Errorf("%d events, want that of the channel without trouble alone", len(told))
	}
}

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

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// volume is a folder as Kubernetes mounts it: each change is a folder of its own, which a symbolic link is turned to.
type volume struct {
	dir   string
	turns int
}

func (v *volume) mount(t *testing.T, files map[string]string) {
	t.Helper()
	v.turns++
	folder := fmt.Sprintf("..2026_%d", v.turns)
	var faults []error
	for name, content := range files {
		path := filepath.Join(v.dir, folder, name)
		faults = append(faults, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600))
		top, _, _ := strings.Cut(name, "/")
		if _, err := os.Lstat(filepath.Join(v.dir, top)); err != nil {
			faults = append(faults, os.Symlink(filepath.Join("..data", top), filepath.Join(v.dir, top)))
		}
	}
	faults = append(faults, os.Symlink(folder, filepath.Join(v.dir, "..next")),
		os.Rename(filepath.Join(v.dir, "..next"), filepath.Join(v.dir, "..data")),
		os.RemoveAll(filepath.Join(v.dir, fmt.Sprintf("..2026_%d", v.turns-1))))
	for _, err := range faults {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// confirms pays orders and gives what sends the commands for some of them to a channel.
func (s *servers) confirms(t *testing.T, count int) (send func(channel string, from, to int)) {
	t.Helper()
	var payments []linepay.TransactionID
	for i := range count {
		payments = append(payments, s.pay.Paid(t, fmt.Sprint("ORDER-", i), "100", "TWD", true))
	}
	slow := simulator.Fault{
		Operation: linepay.Confirm, Kind: simulator.KindDelay, When: simulator.After, Delay: 50 * time.Millisecond, Count: -1,
	}
	if err := s.pay.Sim.AddFault(slow); err != nil { // so that calls are in flight at every moment
		t.Fatal(err)
	}
	return func(channel string, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			body := fmt.Sprintf(`{"specversion":"1.0","id":"c-%d","source":"/shop","type":"linepay.command.confirm.v1",`+
				`"data":{"transactionId":"%d","orderId":"ORDER-%d","amount":"100","currency":"TWD"}}`, i, payments[i], i)
			if _, err := s.js.Publish(t.Context(), "linepay.commands."+channel+".confirm", []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// onceEach sees that each command has one event, and each payment one effect.
func (s *servers) onceEach(t *testing.T, commands int) {
	t.Helper()
	consumertest.Await(t, s.js, "LINEPAY_EVENTS", "linepay.events.*.captured.>", commands)
	if all := consumertest.Collect(t, s.js, "LINEPAY_EVENTS", ">"); len(all) != commands {
		t.Errorf("%d events, want one for each of %d commands", len(all), commands)
	}
	for _, transaction := range s.pay.Sim.Ledger().Transactions {
		if len(transaction.Effects) != 1 {
			t.Errorf("order %s has %d effects, want one", transaction.OrderID, len(transaction.Effects))
		}
	}
}

// Kubernetes can send no signal to a program: what it has mounted anew is noticed.
func TestSecretThatKubernetesMountsIsTakenUnderLoadWithoutASignal(t *testing.T) {
	t.Parallel()
	const commands, next = 120, linepay.Secret("fedcba9876543210fedcba9876543210")
	s := startServers(t)
	mounted := &volume{dir: t.TempDir()}
	channels := strings.NewReplacer("PAY", s.pay.URL, "pay.secret", "secrets/default").Replace(oneChannel)
	mounted.mount(t, map[string]string{"channels.yaml": channels, "secrets/default": s.pay.Secret.Reveal()})
	worker := start(t, []string{
		"NATS_URL=" + s.nats.URL(), "REDIS_URL=" + s.redis.URL(), "LINEPAY_CHANNELS=" + filepath.Join(mounted.dir, "channels.yaml"),
		"ADMIN_ADDR=127.0.0.1:0", "CONCURRENCY=8", "RELOAD_EVERY=100ms",
	})
	admin := ready(t, worker)
	send := s.confirms(t, commands)
	send("default", 0, commands/2)
	consumertest.Await(t, s.js, "LINEPAY_EVENTS", "linepay.events.default.captured.>", commands/8)
	if err := s.pay.Sim.SetSecrets(s.pay.ChannelID, next); err != nil {
		t.Fatal(err)
	}
	mounted.mount(t, map[string]string{"channels.yaml": channels, "secrets/default": next.Reveal() + "\n"})
	send("default", commands/2, commands)
	s.onceEach(t, commands)

	mounted.mount(t, map[string]string{"channels.yaml": "channels:\n- {name: default, id: 1", "secrets/default": next.Reveal()})
	awaitAnswer(t, worker, admin+"/readyz", func(status int, body string) bool {
		return status == http.StatusOK && strings.Contains(body, "channels.yaml:2:")
	})
	awaitAnswer(t, worker, admin+"/metrics", func(_ int, metrics string) bool {
		return strings.Contains(metrics, "\nlinepay_channels_last_reload_successful 0\n")
	})
	mounted.mount(t, map[string]string{"channels.yaml": channels, "secrets/default": next.Reveal()})
	awaitAnswer(t, worker, admin+"/metrics", func(_ int, metrics string) bool {
		return strings.Contains(metrics, "\nlinepay_channels_last_reload_successful 1\n")
	})
	if code := worker.stop(t); code != 0 || strings.Count(worker.said(), notReloaded) != 1 {
		t.Errorf("exit code %d, want 0 and one line about the mistake:\n%s", code, worker.said())
	}
	for _, secret := range []linepay.Secret{s.pay.Secret, next} {
		if strings.Contains(worker.said(), secret.Reveal()) {
			t.Errorf("the worker wrote a secret:\n%s", worker.said())
		}
	}
}

// Whatever is written to the file, and however often the worker is told to read it, each command is carried out once.
func TestReloadsThatRainDropAndDoubleNothing(t *testing.T) {
	t.Parallel()
	const commands = 240
	r := startReloading(t, oneChannel)
	renamed := strings.Replace(oneChannel, "default", "other", 1)
	send := r.confirms(t, commands)
	whole := r.fill(oneChannel)
	for i, content := range []string{
		whole[:len(whole)/2], // half-written
		r.fill(renamed),      // the account under another name
		strings.ReplaceAll(whole, "}", ", concurrency: 3}"), // another worker of the channel
		"channels: []\n", // none
		whole + r.fill(renamed)[len("channels:\n"):], // one account twice
		whole + whole[len("channels:\n"):],           // one name twice
		r.fill(renamed),
		strings.ReplaceAll(whole, "pay.secret", "none"),
		whole,
		"\x00",
	} {
		part := commands / 10
		send([]string{"default", "other"}[i%2], i*part, (i+1)*part)
		r.write(t, "channels.yaml", content)
		for range 20 {
			if err := r.worker.command.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		consumertest.Eventually(t, func(context.Context) bool { return strings.Count(r.worker.said(), "reloaded") > i })
	}
	r.write(t, "channels.yaml", r.fill(renamed))
	r.reload(t, reloaded)
	consumertest.Eventually(t, func(ctx context.Context) bool { return r.waiting(ctx, "other") == 0 })
	r.write(t, "channels.yaml", whole)
	r.reload(t, reloaded)
	r.onceEach(t, commands)
	if code := r.worker.stop(t); code != 0 || strings.Contains(r.worker.said(), r.pay.Secret.Reveal()) {
		t.Errorf("exit code %d, or a secret in what the worker wrote:\n%s", code, r.worker.said())
	}
}

// waiting counts the commands of a channel that are not done; -1 where that cannot be told.
func (s *servers) waiting(ctx context.Context, channel string) int {
	consumer, err := s.js.Consumer(ctx, "LINEPAY_COMMANDS", "linepay-worker-"+channel)
	if err != nil {
		return -1
	}
	info := consumer.CachedInfo()
	return int(info.NumPending) + info.NumAckPending
}

func TestReloadDuringTheEndEndsNothingSooner(t *testing.T) {
	t.Parallel()
	r := startReloading(t, oneChannel)
	slow := simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDelay, When: simulator.After, Delay: 2 * time.Second}
	if err := r.pay.Sim.AddFault(slow); err != nil {
		t.Fatal(err)
	}
	transaction := r.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	r.send(t, linepay.Confirm, "c-1", map[string]any{"transactionId": transaction, "orderId": "ORDER-1", "amount": "100", "currency": "TWD"})
	awaitAnswer(t, r.worker, r.admin+"/metrics", func(_ int, metrics string) bool {
		return strings.Contains(metrics, `linepay_commands_in_flight{channel="default"} 1`)
	})
	r.write(t, "channels.yaml", strings.ReplaceAll(r.fill(oneChannel), "default", "other"))
	r.worker.terminate(t)
	awaitAnswer(t, r.worker, r.admin+"/readyz", func(status int, body string) bool { return strings.Contains(body, "stopping") })
	for range 20 {
		if err := r.worker.command.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if code := r.worker.end(); code != 0 || strings.Contains(r.worker.said(), "reloaded") {
		t.Errorf("exit code %d, want 0 and no reload:\n%s", code, r.worker.said())
	}
	r.event(t, "linepay.events.default.captured.ORDER-1")
}

package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// newRig starts servers and connections. The worker runs where the test asks for it.
func newRig(t *testing.T, working bool) (*stage, *screen) {
	t.Helper()
	servers, err := startServers(runArguments{Once: true, Data: t.TempDir()}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	line, err := startLine(t.Context(), servers, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	out := newScreen()
	s, err := newStage(t.Context(), line.deployment(servers), newPrinter(out))
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		if !working {
			ended <- nil
			return
		}
		ended <- line.actors()[0](ctx)
	}()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.close()
		line.close()
		if err := servers.close(); err != nil {
			t.Error(err)
		}
	})
	return s, out
}

func TestCommandThatNobodyAnswersEndsTheScenario(t *testing.T) {
	t.Parallel()
	s, _ := newRig(t, false)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := send(request("tea", "1000 TWD")).answers(schemas.EventRequested).play(ctx, s)
	if err == nil {
		t.Fatal("a command without an answer was taken for answered")
	}
	for _, text := range []string{"no answer to request of order " + s.order("tea").id, "wanted: requested"} {
		if !strings.Contains(s.stopped(ctx, err).Error(), text) {
			t.Errorf("error %q, want %q", err, text)
		}
	}
	if err := sendGarbage(linepay.Refund).play(ctx, s); err == nil {
		t.Error("an unreadable message without a dead letter was taken for parked")
	}
	if _, err := s.collect(ctx); err == nil {
		t.Error("a verdict is given while commands are still in the stream")
	}
}

func TestUnexpectedAnswersAreSurprises(t *testing.T) {
	t.Parallel()
	s, out := newRig(t, true)
	for _, step := range []step{
		send(request("tea", "1000 TWD")).answers(schemas.EventCaptured),
		customerPays("tea"),
		send(confirm("tea")).answers(schemas.EventCaptured).settledBy(schemas.SettledByLookup).issuesKey(),
	} {
		if err := step.play(t.Context(), s); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	got := strings.Join(s.surprises, "\n")
	for _, want := range []string{"was answered by requested, want captured", "was settled by response, want by lookup", "issued no key"} {
		if !strings.Contains(got, want) {
			t.Errorf("surprises %q, want %q", s.surprises, want)
		}
	}
	if len(s.surprises) != 3 {
		t.Errorf("%d surprises, want 3: %q", len(s.surprises), s.surprises)
	}
	err := customerPays("cake").play(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "order cake-"+s.run+" has no page to pay on") {
		t.Fatalf("error %v, want that nobody can pay", err)
	}
	if text := s.stopped(t.Context(), err).Error(); strings.Count(text, "\nBefore that, command ") != 3 {
		t.Errorf("error %q, want the surprises in it", text)
	}
}

func TestEventOfAnotherRunIsLeftOut(t *testing.T) {
	t.Parallel()
	s, _ := newRig(t, true)
	other, err := newStage(t.Context(), s.on, newPrinter(newScreen()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.close)
	if err := send(request("tea", "1000 TWD")).answers(schemas.EventRequested).play(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for stage, want := range map[*stage]int{s: 1, other: 0} {
		left, err := stage.collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(left.events) != want || len(left.transactions) != want {
			t.Errorf("run %s of %s and %s has %d events and %d transactions, want %d of each",
				stage.run, s.run, other.run, len(left.events), len(left.transactions), want)
		}
	}
}

func TestMessagesOfOtherChannelsAreLeftOut(t *testing.T) {
	t.Parallel()
	s, _ := newRig(t, true)
	if err := send(request("tea", "1000 TWD")).answers(schemas.EventRequested).play(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"linepay.events.other.captured.tea", "linepay.deadletters.other.confirm"} {
		if _, err := s.js.Publish(t.Context(), subject, []byte("no event")); err != nil {
			t.Fatal(err)
		}
	}
	left, err := s.collect(t.Context())
	if err != nil || len(left.events) != 1 || len(left.letters) != 0 {
		t.Errorf("%d events, %d dead letters and error %v, want the event alone", len(left.events), len(left.letters), err)
	}
	if _, err := s.js.Publish(t.Context(), "linepay.events.default.captured.tea", []byte("no event")); err != nil {
		t.Fatal(err)
	}
	const want = "LINEPAY_EVENTS holds a message on linepay.events.default.captured.tea that cannot be read"
	if _, err := s.collect(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want that the channel's own message cannot be read", err)
	}
}

func TestFaultsOfTheScenarioStrikeItsOwnPaymentsAlone(t *testing.T) {
	t.Parallel()
	s, _ := newRig(t, true)
	for _, step := range []step{
		send(request("tea", "1000 TWD")).answers(schemas.EventRequested), send(request("lamp", "1000 TWD")).answers(schemas.EventRequested),
		customerPays("tea"), customerPays("lamp"), linePayAnswers("1142", "lamp", linepay.Confirm),
		send(confirm("tea")).answers(schemas.EventCaptured), send(confirm("lamp")).answers(schemas.EventFailed),
	} {
		if err := step.play(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.surprises) > 0 {
		t.Errorf("%q", s.surprises)
	}
	if err := linePayAnswers("1142", "cake", linepay.Confirm).play(t.Context(), s); err == nil {
		t.Error("a fault for an order without a payment was taken, and would strike whoever comes next")
	}
}

func TestRunForOnceThatHangsIsEnded(t *testing.T) {
	t.Parallel()
	codes := make(chan int, 1)
	err := newScreen()
	ctx, cancel := context.WithCancel(t.Context())
	s := sandbox{stdout: newScreen(), stderr: err, limit: time.Nanosecond, exit: func(code int) {
		codes <- code
		cancel()
	}}
	s.run(ctx, []string{"--once"})
	if code := <-codes; code != disagreed {
		t.Errorf("exit code %d, want %d", code, disagreed)
	}
	if !strings.Contains(err.String(), "not done after 1ns") {
		t.Errorf("error %q, want that it took too long", err)
	}
}

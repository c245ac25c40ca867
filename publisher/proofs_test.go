package publisher_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"linepay-worker/schemas"
)

func TestProofsAreTheEventsThatSayWhatBecameOfAnOperation(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := b.Publisher
	if at, err := p.Newest(t.Context(), "tw"); err != nil || !at.IsZero() {
		t.Errorf("newest of none: %v, %v", at, err)
	}
	proofs := func(channel string, since time.Time) (names []string) {
		t.Helper()
		err := p.Proofs(t.Context(), channel, since, func(e *schemas.Event) { names = append(names, e.Name()) })
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if got := proofs("tw", time.Time{}); got != nil {
		t.Errorf("proofs of nothing: %v", got)
	}
	all := []string{
		schemas.EventRequested, schemas.EventStatus, schemas.EventAuthorized, schemas.EventCaptured, schemas.EventVoided, schemas.EventRefunded,
		schemas.EventDetails, schemas.EventPreapproval, schemas.EventFailed, schemas.EventRejected, schemas.EventDuplicate, schemas.EventParked,
	}
	for i, name := range all {
		for _, channel := range []string{"tw", "jp"} {
			e := schemas.NewEvent(name, time.Now(), schemas.EventData{
				Channel: channel, OrderID: fmt.Sprint("O-", i), Command: schemas.CommandRef{Source: "/test", ID: fmt.Sprint(i)},
			})
			if err := p.Publish(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []string{
		schemas.EventRequested, schemas.EventAuthorized, schemas.EventCaptured, schemas.EventVoided, schemas.EventRefunded,
		schemas.EventFailed, schemas.EventRejected, schemas.EventParked,
	}
	if diff := cmp.Diff(want, proofs("tw", time.Time{})); diff != "" {
		t.Errorf("proofs (-want +got):\n%s", diff)
	}
	newest, err := p.Newest(t.Context(), "tw")
	if err != nil || time.Since(newest) > time.Minute {
		t.Errorf("newest %v, %v", newest, err)
	}
	if diff := cmp.Diff([]string{schemas.EventParked}, proofs("tw", newest)); diff != "" {
		t.Errorf("proofs since the newest (-want +got):\n%s", diff)
	}
	if got := proofs("tw", time.Now().Add(time.Hour)); got != nil {
		t.Errorf("proofs of the future: %v", got)
	}
	// What nobody of ours has published, and looks like a word of the server, is passed over, and does not hold the reading up.
	odd := nats.NewMsg(schemas.EventSubject("tw", schemas.EventCaptured, "ODD"))
	odd.Header.Set("Status", "404")
	if _, err := b.js.PublishMsg(t.Context(), odd); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, proofs("tw", time.Time{})); diff != "" {
		t.Errorf("proofs beside one that looks like a status (-want +got):\n%s", diff)
	}
}

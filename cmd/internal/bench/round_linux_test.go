package main

import (
	"os"
	"testing"
	"time"
)

// Small rounds with all processes: the figures mean nothing, but that there are some.
func TestRoundsMeasureWorkerAndCeiling(t *testing.T) {
	t.Parallel()
	b := &bench{
		dir: t.TempDir(), profiles: t.TempDir(),
		pace: pace{rounds: 1, warm: time.Millisecond, window: 200 * time.Millisecond, latency: 300 * time.Millisecond},
	}
	if err := b.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	loads := group{
		{name: "throughput/4/0ms", inFlight: 4, workers: 1},
		{name: "kept", inFlight: 4, workers: 2, keep: 100, refunds: true, against: "-"},
		{name: "postponed", inFlight: 4, workers: 1, retries: 50, against: "-"},
		{name: "neighbour", inFlight: 4, workers: 1, trouble: slowLINEPay, against: "-"},
		{name: "latency", inFlight: 4, workers: 1, rate: 50, delay: time.Millisecond},
	}
	for _, l := range loads {
		l.samples, l.most = map[string][]sample{}, 100 // which is not enough
	}
	if err := b.measure(t.Context(), loads); err != nil {
		t.Fatal(err)
	}
	if profiles, err := os.ReadDir(b.profiles); err != nil || len(profiles) < 2 { // two workers, and latencies, have none
		t.Errorf("%d profiles (%v), want at least those of worker and NATS for %s", len(profiles), err, loads[0].name)
	}
	if loads[0].most == 100 {
		t.Error("a backlog that was used up was not made longer")
	}
	for _, l := range loads {
		if l.against == "" && len(l.samples[subjectCeiling]) != 1 || len(l.samples[subjectWorker]) != 1 {
			t.Fatalf("%s has samples %+v", l.name, l.samples)
		}
		for subject, samples := range l.samples {
			s := samples[0]
			if s.rate <= 0 || s.cpu <= 0 || s.peak < 1 || s.tally.Effects == 0 || s.tally.Doubles != 0 || (len(s.latency) == 0) != (l.rate == 0) {
				t.Errorf("%s, %s: %+v", l.name, subject, s)
			}
		}
	}
}

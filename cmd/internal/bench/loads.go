package main

import (
	"fmt"
	"regexp"
	"time"
)

// Who is measured.
const (
	subjectWorker  = "worker"
	subjectCeiling = "ceiling"
)

// load is what a worker, or the ceiling, is given to do.
type load struct {
	name     string
	inFlight int
	delay    time.Duration // of LINE Pay
	workers  int           // processes

	refunds bool // instead of confirms
	mixed   bool // a tenth each of duplicates, refusals, retries and look-ups
	keep    int  // as many commands wait all the time; 0 = as many as are needed are there from the beginning
	retries int  // as many commands wait for a retry that is far off
	rate    int  // commands a second, as latencies are measured; 0 = throughput is

	trouble string // of another channel on the same worker; "" = there is none
	most    int    // more commands a second than anybody carries out; doubled where somebody does
	against string // the load whose worker this one's is compared with; "" = its own ceiling
	wanted  wanted

	samples map[string][]sample // by who is measured
}

// wanted are the bounds that the project has set itself; 0 = none. Shares are of what it is compared with.
type wanted struct {
	share    float64 // of the commands a second, at least
	cpu      float64 // share of the CPU time for a command, at most
	peak     int     // memory in MiB, at most
	p50, p99 time.Duration
}

type group []*load

func (g group) matching(only *regexp.Regexp) (chosen []*load) {
	for _, l := range g {
		if only.MatchString(l.name) {
			chosen = append(chosen, l)
		}
	}
	return chosen
}

// rateOfLatencies is the offered load that latencies are measured under, in commands a second.
const rateOfLatencies = 200

// groups are all loads. Those of one group take turns, since they are compared.
func (b *bench) groups() []group {
	var throughput group
	for _, delay := range []time.Duration{0, 20 * time.Millisecond, 200 * time.Millisecond} {
		for _, n := range []int{1, 16, 64, 256, 1024} {
			throughput = append(throughput, &load{name: fmt.Sprintf("throughput/%d/%dms", n, delay.Milliseconds()), inFlight: n, delay: delay})
		}
	}
	few, many := b.pace.backlogs[0], b.pace.backlogs[1]
	groups := []group{
		throughput,
		{
			{name: "refund/64/0ms", inFlight: 64, refunds: true},
			{name: "refund/64/20ms", inFlight: 64, refunds: true, delay: 20 * time.Millisecond},
		},
		{{name: "mixed/64/0ms", inFlight: 64, mixed: true}},
		{
			{name: fmt.Sprintf("backlog/%d", few), inFlight: 64, keep: few, against: "-"},
			{name: fmt.Sprintf("backlog/%d", many), inFlight: 64, keep: many, against: fmt.Sprintf("backlog/%d", few)},
		},
		{
			{name: "workers/1", inFlight: 64, against: "-"},
			{name: "workers/2", inFlight: 64, workers: 2, against: "workers/1"},
			{name: "workers/4", inFlight: 64, workers: 4, against: "workers/1"},
		},
		{
			{name: "retries/0", inFlight: 64, against: "-"},
			{name: fmt.Sprintf("retries/%d", b.pace.retries), inFlight: 64, retries: b.pace.retries, against: "retries/0"},
		},
		{
			{name: "neighbour/none", inFlight: 64, against: "-"},
			{name: "neighbour/slow", inFlight: 64, trouble: slowLINEPay, against: "neighbour/none"},
			{name: "neighbour/down", inFlight: 64, trouble: downLINEPay, against: "neighbour/none"},
		},
		{{name: "latency/20ms", inFlight: 64, delay: 20 * time.Millisecond, rate: rateOfLatencies}},
	}
	for _, g := range groups {
		for _, l := range g {
			l.workers, l.samples = max(l.workers, 1), map[string][]sample{}
			l.wanted, l.most = bounds(l), mostOnOneMachine
		}
	}
	return groups
}

// bounds are those of the loads that have some. One worker with one command in flight has nobody to hide its round trips behind.
func bounds(l *load) (w wanted) {
	plain := !l.refunds && !l.mixed && l.rate == 0 && l.against == ""
	switch {
	case l.rate > 0:
		return wanted{p50: 2 * time.Millisecond, p99: 10 * time.Millisecond}
	case l.workers > 1:
		return wanted{share: 1}
	case l.besides() > 0: // as before, within what a measurement is worth
		return wanted{share: 0.95}
	case !plain || l.inFlight > 256:
		return wanted{}
	case l.inFlight == 1:
		w.share = 0.8
	case l.delay > 0:
		w.share = 0.97
	default:
		w.share = 0.9
	}
	w.cpu = 1.25
	if l.inFlight == 256 {
		w.peak = 64
	}
	return w
}

// mostOnOneMachine is where a load's most begins.
const mostOnOneMachine = 16_000

// perSecond bounds what can be carried out, so that a backlog of as many for each second is not used up. One at a time cannot be as fast.
func (l *load) perSecond() int {
	most := l.most
	if l.inFlight == 1 {
		most /= 5
	}
	if l.delay > 0 {
		most = min(most, 1+int(time.Duration(l.inFlight)*time.Second/l.delay))
	}
	return most
}

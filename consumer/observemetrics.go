package consumer

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Metric is one of the metrics of a worker, as dashboards and alerts know it. The values of its labels come from closed sets: a publisher
// cannot make new ones.
type Metric struct {
	Name, Help string
	Type       string   // Counter, Gauge or Histogram
	Labels     []string // beside channel, which all have
}

// Types of metrics, as Prometheus names them.
const (
	Counter   = "counter"
	Gauge     = "gauge"
	Histogram = "histogram"
)

// The metrics of one channel. Names and labels stay as they are: alerts and dashboards of others use them.
var (
	commandsHandled = Metric{
		Name: "linepay_commands_handled_total", Type: Counter, Labels: []string{"operation", "fate", "outcome"},
		Help: "Deliveries of commands, by what became of them (ack, wait, retry), and by the command's answer where it has one.",
	}
	commandSeconds = Metric{
		Name: "linepay_command_seconds", Type: Histogram,
		Help: "Time from the delivery of a command to its fate.",
	}
	commandsFlying = Metric{
		Name: "linepay_commands_in_flight", Type: Gauge,
		Help: "Commands being handled right now.",
	}
	concurrency = Metric{
		Name: "linepay_concurrency", Type: Gauge,
		Help: "Commands that may be handled at a time.",
	}
	commandReplays = Metric{
		Name: "linepay_replayed_commands_total", Type: Counter, Labels: []string{"operation", "outcome"},
		Help: "Commands from replayed dead letters that were answered, by their answer.",
	}
	callSeconds = Metric{
		Name: "linepay_call_seconds", Type: Histogram, Labels: []string{"operation", "class"},
		Help: "Calls to LINE Pay and how long they took, by what LINE Pay's code says.",
	}
	claimsAnswered = Metric{
		Name: "linepay_claims_total", Type: Counter, Labels: []string{"operation", "answer"},
		Help: "Claims, by the guard's answer; unavailable, forgotten and unreadable are none.",
	}
	duplicates = Metric{
		Name: "linepay_duplicates_blocked_total", Type: Counter, Labels: []string{"operation"},
		Help: "Deliveries for which LINE Pay was not called, since the guard knew the operation's outcome.",
	}
	lookUps = Metric{
		Name: "linepay_lookups_total", Type: Counter, Labels: []string{"operation", "verdict"},
		Help: "Look-ups of operations in doubt, by what they showed; told: the order's own events did.",
	}
	lettersParked = Metric{
		Name: "linepay_dead_letters_parked_total", Type: Counter, Labels: []string{"reason"},
		Help: "Commands parked as dead letters, by reason.",
	}
	publishSeconds = Metric{
		Name: "linepay_publish_seconds", Type: Histogram, Labels: []string{"kind", "result"},
		Help: "Time until JetStream had stored an event or dead letter, or had not.",
	}
	breakerState = Metric{
		Name: "linepay_breaker_state", Type: Gauge, Labels: []string{"state"},
		Help: "1 for the state that the circuit breaker is in, 0 for the others.",
	}
	channelRefused = Metric{
		Name: "linepay_channel_refused", Type: Gauge,
		Help: "1 while LINE Pay does not accept the channel (1104, 1105, 1106).",
	}
	workerReady = Metric{
		Name: "linepay_ready", Type: Gauge,
		Help: "1 while the worker takes commands and can tell what it has done.",
	}
	guardAnswers = Metric{
		Name: "linepay_guard_answers", Type: Gauge,
		Help: "0 while no claims are made, since Redis does not answer them.",
	}
	memoryBelieved = Metric{
		Name: "linepay_redis_memory_believed", Type: Gauge,
		Help: "0 while Redis has forgotten something that is not made up for yet.",
	}
	resultsUntold = Metric{
		Name: "linepay_results_untold", Type: Gauge,
		Help: "1 while the last event or dead letter could not be stored.",
	}
	allOfTheMetrics = []Metric{
		commandsHandled, commandSeconds, commandsFlying, concurrency, commandReplays, callSeconds, claimsAnswered, duplicates, lookUps,
		lettersParked, publishSeconds, breakerState, channelRefused, workerReady, guardAnswers, memoryBelieved, resultsUntold,
	}
)

// Metrics are all that a worker counts, in the order in which people want to read of them.
func Metrics() []Metric { return allOfTheMetrics }

// Buckets in seconds: LINE Pay answers in tenths of a second and may take a minute, JetStream in milliseconds.
var (
	commandBuckets = []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 40, 60}
	callBuckets    = []float64{.05, .1, .2, .5, 1, 2, 5, 10, 20, 40, 60}
	publishBuckets = []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}
)

// metrics of one channel.
type metrics struct {
	handled, replays, claims, duplicates, lookUps, parked *prometheus.CounterVec
	seconds                                               prometheus.Observer
	calls, publishes                                      *prometheus.HistogramVec
	inFlight                                              prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer, w *Worker) metrics {
	labels := prometheus.Labels{"channel": w.cfg.Channel}
	var made []prometheus.Collector
	counter := func(m Metric) *prometheus.CounterVec {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help, ConstLabels: labels}, m.Labels)
		made = append(made, vec)
		return vec
	}
	histogram := func(m Metric, buckets []float64) *prometheus.HistogramVec {
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, ConstLabels: labels, Buckets: buckets}, m.Labels)
		made = append(made, vec)
		return vec
	}
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{Name: commandsFlying.Name, Help: commandsFlying.Help, ConstLabels: labels})
	all := metrics{
		handled: counter(commandsHandled), replays: counter(commandReplays), claims: counter(claimsAnswered), duplicates: counter(duplicates),
		lookUps: counter(lookUps), parked: counter(lettersParked),
		seconds: histogram(commandSeconds, commandBuckets).WithLabelValues(), calls: histogram(callSeconds, callBuckets),
		publishes: histogram(publishSeconds, publishBuckets), inFlight: inFlight,
	}
	for _, reason := range schemas.DeadLetterReasons() { // an alert on the first one needs the 0 before it
		all.parked.WithLabelValues(reason)
	}
	for _, op := range linepay.Operations() {
		for _, outcome := range []string{schemas.EventFailed, schemas.EventRejected, schemas.EventParked} {
			all.replays.WithLabelValues(string(op), outcome)
		}
	}
	if registry != nil {
		registry.MustRegister(append(made, inFlight, newStateGauges(w, labels))...)
	}
	return all
}

// stateGauges tell how a worker stands at the moment of a scrape. They ask nobody.
type stateGauges struct {
	worker *Worker
	descs  map[string]*prometheus.Desc
}

func newStateGauges(w *Worker, labels prometheus.Labels) *stateGauges {
	s := &stateGauges{w, map[string]*prometheus.Desc{}}
	for _, m := range []Metric{concurrency, breakerState, channelRefused, workerReady, guardAnswers, memoryBelieved, resultsUntold} {
		s.descs[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, labels)
	}
	return s
}

// Describe gives what Collect may give.
func (s *stateGauges) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range s.descs {
		to <- desc
	}
}

// Collect gives how things stand now.
func (s *stateGauges) Collect(to chan<- prometheus.Metric) {
	gauge := func(m Metric, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(s.descs[m.Name], prometheus.GaugeValue, value, labels...)
	}
	w, state := s.worker, s.worker.breaker.State()
	for _, other := range []gobreaker.State{gobreaker.StateClosed, gobreaker.StateHalfOpen, gobreaker.StateOpen} {
		gauge(breakerState, one(other == state), other.String())
	}
	gauge(concurrency, float64(w.cfg.Concurrency))
	gauge(channelRefused, one(w.trouble.Load().withChannel()))
	gauge(workerReady, one(w.Ready(context.Background()) == nil))
	gauge(guardAnswers, one(!w.guardDown.Load()))
	gauge(memoryBelieved, one(!w.disbelieves.Load()))
	gauge(resultsUntold, one(w.unpublished.Load() != nil))
}

func one(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// claimed counts a claim's answer. Where the guard gave none, the label says why.
func (m metrics) claimed(op string, claim *idempotency.Claim, err error) {
	if err != nil {
		m.claims.WithLabelValues(op, noAnswer(err)).Inc()
		return
	}
	m.claims.WithLabelValues(op, strings.ReplaceAll(claim.Answer.String(), " ", "_")).Inc()
	switch claim.Answer {
	case idempotency.Done, idempotency.Duplicate, idempotency.RefusedBefore, idempotency.Parked:
		m.duplicates.WithLabelValues(op).Inc()
	}
}

// beginCall is the worker's linepay.Observer.
func (w *Worker) beginCall(ctx context.Context, op linepay.Operation) (context.Context, func(error)) {
	began := time.Now()
	ctx, end := w.calling(ctx, op)
	return ctx, func(err error) {
		end(err)
		w.metrics.calls.WithLabelValues(string(op), linepay.VerdictOf(err).String()).Observe(time.Since(began).Seconds())
	}
}

// What is published, as a label.
const (
	anEvent      = "event"
	aDeadLetter  = "dead_letter"
	wasStored    = "stored"
	wasNotStored = "failed"
)

func (m metrics) published(kind string, took time.Duration, err error) {
	result := wasStored
	if err != nil {
		result = wasNotStored
	}
	m.publishes.WithLabelValues(kind, result).Observe(took.Seconds())
}

// String gives the evidence's word.
func (e evidence) String() string {
	switch e {
	case happened:
		return "happened"
	case nothing:
		return "nothing"
	case over:
		return "over"
	case ambiguous:
		return "ambiguous"
	default:
		return "unsure"
	}
}

// byEvents stands for a finding where the order's own events have told, and LINE Pay was not asked.
const byEvents = "told"

func (t *task) lookedUp(verdict string) {
	t.worker.metrics.lookUps.WithLabelValues(string(t.cmd.Operation), verdict).Inc()
}

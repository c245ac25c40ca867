package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linepay-worker/consumer"
)

// ServerMetrics are metrics of what NATS and Redis hold: a scrape asks for them, and Run asks the servers. What was asked a few seconds
// ago is given again, a server that does not answer holds no scrape up for longer than a second, and what is older than two minutes is not
// given.
type ServerMetrics struct {
	sources []*source
	descs   map[string]*prometheus.Desc
	ended   chan struct{}
}

// What a server tells. Labels have values from closed sets: channels are the worker's own.
var (
	serverAnswers = held("linepay_server_answers",
		"0 where the last look at the server did not bring all, so that other metrics are missing.", "server")
	commandsPending = held("linepay_commands_pending", "Commands that were not delivered yet.", "channel")
	commandsInHand  = held("linepay_commands_in_hand",
		"Commands that were delivered and are not done: in flight, or waiting for a retry.", "channel")
	commandsOldest = held("linepay_commands_oldest_seconds",
		"Age of the oldest command that is not done; 0 where there is none.", "channel")
	channelPaused    = held("linepay_channel_paused", "1 while an operator has paused the channel.", "channel")
	commandsUnserved = held("linepay_commands_unserved", "Commands of channels that no worker has ever served, or whose consumer nobody has pulled from for three minutes.")
	deadLetters      = held("linepay_dead_letters",
		"Dead letters by reason, of the oldest 10,000; channel is other where this worker does not serve it.", "channel", "reason")
	deadLettersOldest = held("linepay_dead_letters_oldest_seconds", "Age of the oldest of these dead letters.", "channel", "reason")
	streamMessages    = held("linepay_stream_messages", "Messages in a stream.", "stream")
	streamBytes       = held("linepay_stream_bytes", "Size of a stream in bytes.", "stream")
	streamFill        = held("linepay_stream_fill_ratio",
		"How far a stream is to its nearest limit, 1 is full; 0 without limits.", "stream")
	storageFill        = held("linepay_storage_fill_ratio", "How far NATS' account is to its limit on disk, 1 is full; 0 without a limit.")
	operationsUnderWay = held("linepay_operations_under_way",
		"Operations that a worker holds right now, of all merchants in this Redis.")
	operationsRetrying = held("linepay_operations_retrying", "Operations that were not called and are to be tried again.")
	operationsInDoubt  = held("linepay_operations_in_doubt", "Operations of which a call may have happened, to be looked up.")
	inDoubtOldest      = held("linepay_operations_in_doubt_oldest_seconds",
		"For how long the oldest of them has been in doubt; 0 where there is none.")
	operationsParked = held("linepay_operations_parked_unknown",
		"Operations that were parked while money may have moved, for a person to find out.")
	recordsDamaged      = held("linepay_records_damaged", "Records of the guard that cannot be read, or are of a newer version.")
	recordsSeenComplete = held("linepay_records_complete",
		"0 where there are more records than could be looked at in time, so that the counts are too low.")

	toldByServers = []consumer.Metric{
		commandsPending, commandsInHand, commandsOldest, commandsUnserved, channelPaused, deadLetters, deadLettersOldest, streamMessages,
		streamBytes, streamFill, storageFill, operationsUnderWay, operationsRetrying, operationsInDoubt, inDoubtOldest, operationsParked, recordsDamaged,
		recordsSeenComplete, serverAnswers,
	}
)

// held is a metric of something that goes up and down.
func held(name, help string, labels ...string) consumer.Metric {
	return consumer.Metric{Name: name, Help: help, Type: consumer.Gauge, Labels: labels}
}

// sample is one value of a metric.
type sample struct {
	metric consumer.Metric
	value  float64
	labels []string
}

const (
	patienceOfScrape = time.Second     // for the servers, all together
	mostStale        = 2 * time.Minute // what is older is not told
	natsRest         = 5 * time.Second // between two looks
	redisRest        = 15 * time.Second
	redisShare       = 20 // of its own time at most, as a divisor, is spent on looking through Redis' keys
)

// NewServerMetrics prepares the metrics of what w stands on, for the channels that are served at the time. Register them, and run Run.
func NewServerMetrics(w Work, served func() []string) *ServerMetrics {
	s := &ServerMetrics{descs: map[string]*prometheus.Desc{}, ended: make(chan struct{})}
	for _, m := range toldByServers {
		s.descs[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	bus := &busLook{work: w, served: served}
	s.sources = []*source{
		{name: "nats", rest: natsRest, timeout: natsLook, look: bus.look, ended: s.ended, asked: make(chan chan struct{})},
		{
			name: "redis", rest: redisRest, share: redisShare, timeout: longestSurvey, look: w.survey,
			ended: s.ended, asked: make(chan chan struct{}),
		},
	}
	return s
}

// Run is an Actor: it looks when a scrape wants to know.
func (s *ServerMetrics) Run(ctx context.Context) error {
	defer close(s.ended)
	var looking sync.WaitGroup
	for _, source := range s.sources {
		looking.Go(func() { source.run(ctx) })
	}
	looking.Wait()
	return nil
}

// Describe gives what Collect may give.
func (s *ServerMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range s.descs {
		to <- desc
	}
}

// Collect gives the latest that the servers have told.
func (s *ServerMetrics) Collect(to chan<- prometheus.Metric) {
	enough := make(chan struct{})
	defer time.AfterFunc(patienceOfScrape, func() { close(enough) }).Stop()
	var asking sync.WaitGroup
	for _, source := range s.sources {
		asking.Go(func() { source.refresh(enough) })
	}
	asking.Wait()
	for _, source := range s.sources {
		samples, answers := source.told()
		for _, sample := range append(samples, sample{serverAnswers, flag(answers), []string{source.name}}) {
			to <- prometheus.MustNewConstMetric(s.descs[sample.metric.Name], prometheus.GaugeValue, sample.value, sample.labels...)
		}
	}
}

func flag(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// source is one server and what it told last.
type source struct {
	name    string
	rest    time.Duration // between two looks
	share   int           // and that many times what the last look took
	timeout time.Duration // of one look
	look    func(context.Context) ([]sample, error)
	asked   chan chan struct{} // a scrape wants to know, and is told when the look is over
	ended   chan struct{}      // nobody looks any more

	mu      sync.Mutex
	latest  []sample
	at      time.Time // of the latest
	answers bool
}

func (s *source) run(ctx context.Context) {
	var next time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case over := <-s.asked:
			if began := time.Now(); !began.Before(next) {
				s.ask(ctx)
				next = time.Now().Add(max(s.rest, time.Duration(s.share)*time.Since(began)))
			}
			close(over)
		}
	}
}

func (s *source) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	samples, err := s.look(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers = err == nil; s.answers || len(samples) > 0 {
		s.latest, s.at = samples, time.Now()
	}
}

// refresh waits for a look that is not too old, until it is enough.
func (s *source) refresh(enough <-chan struct{}) {
	over := make(chan struct{})
	select {
	case s.asked <- over:
	case <-enough:
		return
	case <-s.ended:
		return
	}
	select {
	case <-over:
	case <-enough:
	}
}

func (s *source) told() (samples []sample, answers bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) > mostStale {
		return nil, s.answers
	}
	return slices.Clone(s.latest), s.answers
}

// MetricsTable is the table of all metrics for the documentation, in Markdown: name, type, labels, meaning.
func MetricsTable() string {
	var table strings.Builder
	table.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	row := func(m consumer.Metric, labels []string) {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, strings.Join(labels, ", "), m.Help)
	}
	for _, m := range consumer.Metrics() {
		row(m, append([]string{"channel"}, m.Labels...))
	}
	for _, m := range append(slices.Clone(toldByServers), lastReload) {
		row(m, m.Labels)
	}
	return table.String()
}

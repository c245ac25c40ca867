package consumer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/schemas"
)

// modelWire is the far end of a process' connection to NATS: as much of the protocol as it takes to pull and to acknowledge messages.
type modelWire struct {
	p      *modelProcess
	near   net.Conn
	far    net.Conn
	mu     sync.Mutex
	inbox  map[string]string // subscription id by subject
	client *nats.Conn
}

func newModelWire(p *modelProcess) *modelWire {
	w := &modelWire{p: p, inbox: map[string]string{}}
	w.near, w.far = net.Pipe()
	go w.serve()
	var err error
	w.client, err = nats.Connect("", nats.InProcessServer(w), nats.NoReconnect(), nats.PingInterval(1e9*modelForever),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		panic(err)
	}
	return w
}

// modelForever is, in seconds, longer than any schedule.
const modelForever = 1_000_000

// InProcessConn is what nats.go asks for instead of dialling.
func (w *modelWire) InProcessConn() (net.Conn, error) { return w.near, nil }

// cut ends the connection for good, as the end of the process does.
func (w *modelWire) cut() {
	_ = w.far.Close()
	w.client.Close()
}

func (w *modelWire) write(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = fmt.Fprintf(w.far, format, args...) // a process that has ended does not read
}

// serve reads what the client says. Only what the world has to know of reaches it, and is answered from there.
func (w *modelWire) serve() {
	w.write("INFO {\"server_id\":\"MODEL\",\"version\":\"2.12.0\",\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n")
	r := bufio.NewReader(w.far)
	for {
		line, err := r.ReadString('\n')
		words := strings.Fields(line)
		if err != nil {
			return
		}
		switch {
		case len(words) == 0:
		case words[0] == "PING":
			w.write("PONG\r\n")
		case words[0] == "SUB":
			w.mu.Lock()
			w.inbox[words[1]] = words[len(words)-1]
			w.mu.Unlock()
		case words[0] == "PUB":
			size, _ := strconv.Atoi(words[len(words)-1])
			body := make([]byte, size+2)
			if _, err := io.ReadFull(r, body); err != nil {
				return
			}
			reply := ""
			if len(words) == 4 {
				reply = words[2]
			}
			w.published(words[1], reply, string(body[:size]))
		}
	}
}

// published is a request to JetStream or an acknowledgement.
func (w *modelWire) published(subject, reply, body string) {
	n := w.p.w.nats
	switch {
	case strings.HasPrefix(subject, "$JS.API.CONSUMER.MSG.NEXT."):
		var request struct {
			Batch int `json:"batch"`
		}
		if err := json.Unmarshal([]byte(body), &request, json.RejectUnknownMembers(false)); err != nil {
			panic(err)
		}
		w.p.notify("pull", func() { n.pull(w, reply, request.Batch) })
	case strings.HasPrefix(subject, "$JS.ACK."):
		tokens := strings.Split(subject, ".")
		sequence, _ := strconv.ParseUint(tokens[5], 10, 64)
		delivery, _ := strconv.ParseUint(tokens[4], 10, 64)
		w.p.notify(fmt.Sprintf("%.4s %d", body, sequence), func() { n.concluded(w.p, sequence, delivery, body) })
	}
}

// deliver sends a message.
func (w *modelWire) deliver(inbox string, m *modelMessage) {
	var header strings.Builder
	for name, values := range m.header {
		for _, value := range values {
			fmt.Fprintf(&header, "%s: %s\r\n", name, value)
		}
	}
	reply := fmt.Sprintf("$JS.ACK.%s.%s.%d.%d.%d.%d.0", schemas.StreamCommands, "worker", m.deliveries, m.sequence, m.sequence, m.stored.UnixNano())
	w.send(m.subject, inbox, reply, "NATS/1.0\r\n"+header.String()+"\r\n", m.body)
}

// expire tells the client that nothing more will come.
func (w *modelWire) expire(inbox string) {
	w.send(inbox, inbox, "", "NATS/1.0 408 Request Timeout\r\n\r\n", nil)
}

func (w *modelWire) send(subject, inbox, reply, header string, body []byte) {
	w.mu.Lock()
	sid := w.inbox[inbox]
	w.mu.Unlock()
	w.write("HMSG %s %s %s %d %d\r\n%s%s\r\n", subject, sid, reply, len(header), len(header)+len(body), header, body)
}

// modelJetStream is a process' way to its consumer and to the stream of commands.
type modelJetStream struct {
	jetstream.JetStream // what the line never asks for
	p                   *modelProcess
}

type modelStream struct {
	jetstream.Stream
	p *modelProcess
}

type modelConsumer struct {
	jetstream.Consumer
	config    jetstream.ConsumerConfig
	delivered uint64
}

func (c modelConsumer) CachedInfo() *jetstream.ConsumerInfo {
	return &jetstream.ConsumerInfo{Config: c.config, Delivered: jetstream.SequenceInfo{Stream: c.delivered}}
}

func (j modelJetStream) Conn() *nats.Conn { return j.p.wire.client }

func (j modelJetStream) Options() jetstream.JetStreamOptions { return jetstream.JetStreamOptions{} }

func (j modelJetStream) Stream(context.Context, string) (jetstream.Stream, error) {
	return modelStream{p: j.p}, nil
}

// Consumer is not there before the first worker has made it.
func (s modelStream) Consumer(context.Context, string) (jetstream.Consumer, error) {
	s.p.w.mu.Lock()
	defer s.p.w.mu.Unlock()
	if s.p.consumer == nil {
		return nil, jetstream.ErrConsumerNotFound
	}
	return modelConsumer{config: *s.p.consumer, delivered: s.p.w.nats.delivered}, nil
}

func (s modelStream) CreateConsumer(_ context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	s.p.w.mu.Lock()
	defer s.p.w.mu.Unlock()
	s.p.w.nats.ackWait, s.p.consumer = cfg.AckWait, &cfg
	return modelConsumer{}, nil
}

// GetMsg reads the next message of the channel; there is no other in the stream.
func (s modelStream) GetMsg(ctx context.Context, from uint64, _ ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	found := new(jetstream.RawStreamMsg)
	err := s.p.contact(ctx, fmt.Sprintf("read from %d", from), func(step *modelStep) {
		w := s.p.w
		if w.away(w.plan.busAway) || w.strike(w.plan.faults.bus, 1) > 0 {
			step.answer(w.some(modelPullWait), errNATS)
			return
		}
		for _, m := range w.nats.queue {
			if m.sequence >= from {
				*found = jetstream.RawStreamMsg{Subject: m.subject, Sequence: m.sequence, Header: m.header, Data: m.body, Time: m.stored}
				step.answer(0, nil)
				return
			}
		}
		step.answer(0, jetstream.ErrMsgNotFound)
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, map[string]func(){program: main})
}

// tidy fails where the tests have left something running.
type tidy struct{ *testing.M }

func (m tidy) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestTranscripts runs testdata/*.txtar, each against servers of its own. Beside linepayctl a transcript has these commands:
//
//	streams                      creates the streams, without a worker
//	worker [READ_TIMEOUT]        starts a worker, with Redis and LINE Pay's simulator, and sets what linepay and redis set, and $ADMIN to an admin
//	                             address with a trouble
//	paid ORDER AMOUNT CURRENCY   makes a payment that the customer has paid, and sets $TRANSACTION; with "hold", its confirm only holds the
//	                             money; with "confirmed", it is confirmed behind the worker's back
//	byhand TRANSACTION AMOUNT    gives money back behind the worker's back
//	stored FILE                  stores events; each line of the file has name, at and data
//	parked FILE                  stores dead letters; each line of the file has subject, reason, header, body and so on, with $TRANSACTION
//	long SUBJECT BYTES           stores a dead letter with one long line
//	audited FILE                 puts what somebody did on record; the file has its data
//	nostream NAME                deletes a stream
//	raw SUBJECT FILE             stores anything
//	last SUBJECT FILE            writes the body of the last message on a subject to a file, as one line
//	redis SETTING…               starts Redis with these settings and sets $REDIS_URL
//	linepay                      starts LINE Pay's simulator and sets the variables of a channel of it, and $LINEPAY_HOST
//	narrow CHANNEL               creates the channel's consumer with an AckWait of a second
//	event ID                     waits until the command of that id has an event
//	letters CHANNEL REASON COUNT  stores dead letters
//	limited STREAM BYTES         gives a stream a limit
//	idle CHANNEL                 keeps commands of the channel from its workers
//	exits CODE ARGUMENT…          runs linepayctl, which must exit with the code
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts (error %v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			server := consumertest.NATS(t)
			r := &rig{t: t, nats: server, js: server.JetStream(t)}
			testscript.Run(t, testscript.Params{
				Files: []string{file},
				Setup: func(env *testscript.Env) error {
					env.Setenv("NATS_URL", server.URL())
					env.Setenv("TOMORROW", time.Now().Add(24*time.Hour).Format(time.RFC3339))
					env.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector lets every process wait a second before it ends
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"streams": r.streams, "worker": r.worker, "paid": r.paid, "byhand": r.byHand, "stored": r.stored, "parked": r.parked,
					"long": r.long, "audited": r.audited, "nostream": r.nostream, "raw": r.raw, "last": r.last, "redis": r.redis,
					"linepay": r.linepay, "narrow": r.narrow, "idle": r.idle, "event": r.event, "letters": r.letters, "limited": r.limited,
					"purge": r.purge, "exits": exits,
				},
				RequireExplicitExec: true,
			})
		})
	}
}

// rig is what a transcript runs against.
type rig struct {
	t    *testing.T
	nats *consumertest.NATSServer
	js   jetstream.JetStream
	pay  *consumertest.LINEPay
}

func (r *rig) streams(ts *testscript.TestScript, _ bool, _ []string) {
	_, err := publisher.Provision(r.t.Context(), r.js, publisher.StreamOptions{}, true)
	ts.Check(err)
}

func (r *rig) worker(ts *testscript.TestScript, _ bool, args []string) {
	r.pay = consumertest.Simulator(r.t)
	var readTimeout time.Duration
	if len(args) > 0 {
		var err error
		readTimeout, err = time.ParseDuration(args[0])
		ts.Check(err)
	}
	store := consumertest.Redis(r.t)
	ts.Setenv("REDIS_URL", store.URL())
	r.account(ts, r.pay)
	ts.Check(startWorker(r.t, r.nats, r.pay, store, readTimeout))
	admin := httptest.NewServer(app.NewAdmin(prometheus.NewRegistry(), app.Check{Name: "channel other", Run: func(context.Context) (string, error) {
		return "", errors.New("the circuit breaker is open: LINE Pay answers 1106")
	}}))
	r.t.Cleanup(admin.Close)
	ts.Setenv("ADMIN", admin.URL)
}

func (r *rig) limited(ts *testscript.TestScript, _ bool, args []string) {
	stream, err := r.js.Stream(r.t.Context(), args[0])
	ts.Check(err)
	config := stream.CachedInfo().Config
	config.MaxBytes, err = strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	_, err = r.js.UpdateStream(r.t.Context(), config)
	ts.Check(err)
}

// workOf is what a worker of a test is made of.
func workOf(t *testing.T, server *consumertest.NATSServer, pay *consumertest.LINEPay, store *consumertest.RedisServer) app.Work {
	return app.Work{
		NATS: server.Connect(t), Redis: store.Client(t), Logger: zerolog.Nop(),
		Channels: []app.Channel{{Name: "default", ID: pay.ChannelID, Secret: pay.Secret, BaseURL: pay.URL, APIVersion: "v3", Concurrency: 4}},
		Streams:  app.StreamSettings{DedupeWindow: 10 * time.Minute, Replicas: 1, Provision: true},
		Limits: app.WorkerSettings{
			LookupMargin: time.Second, RetryBudget: time.Hour, RetryMin: time.Second, RetryMax: time.Minute,
			RecordRetention: time.Hour, ShutdownGrace: 75 * time.Second,
		},
	}
}

// startWorker runs a worker in this process until the test ends.
func startWorker(t *testing.T, server *consumertest.NATSServer, pay *consumertest.LINEPay, store *consumertest.RedisServer, readTimeout time.Duration) error {
	work := workOf(t, server, pay, store)
	work.Limits.ReadTimeout = readTimeout
	workers, err := app.NewWorkers(t.Context(), work)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, len(workers))
	for _, worker := range workers {
		go func() { ended <- worker.Run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range workers {
			if err := <-ended; err != nil {
				t.Errorf("worker: %v", err)
			}
		}
	})
	return nil
}

func (r *rig) paid(ts *testscript.TestScript, _ bool, args []string) {
	id := r.pay.Paid(r.t, args[0], args[1], args[2], !slices.Contains(args, "hold"))
	if slices.Contains(args, "confirmed") {
		_, err := r.pay.Client(r.t).Confirm(r.t.Context(), id, linepay.MustAmount(args[1]), args[2])
		ts.Check(err)
	}
	ts.Setenv("TRANSACTION", id.String())
}

func (r *rig) byHand(ts *testscript.TestScript, _ bool, args []string) {
	id, err := linepay.ParseTransactionID(args[0])
	ts.Check(err)
	amount, err := linepay.ParseAmount(args[1])
	ts.Check(err)
	_, err = r.pay.Client(r.t).Refund(r.t.Context(), id, &amount)
	ts.Check(err)
}

func (r *rig) stored(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var in struct {
			Name  string            `json:"name"`
			At    time.Time         `json:"at"`
			Extra []string          `json:"extra"` // enters the id
			Data  schemas.EventData `json:"data"`
		}
		ts.Check(json.Unmarshal([]byte(line), &in))
		event := schemas.NewEvent(in.Name, in.At, in.Data, in.Extra...)
		body, err := event.Encode()
		ts.Check(err)
		r.publish(ts, schemas.EventSubject(in.Data.Channel, in.Name, in.Data.OrderID), body)
	}
}

func (r *rig) parked(ts *testscript.TestScript, _ bool, args []string) {
	bus, err := publisher.New(r.t.Context(), r.js)
	ts.Check(err)
	for line := range strings.Lines(strings.ReplaceAll(ts.ReadFile(args[0]), "$TRANSACTION", ts.Getenv("TRANSACTION"))) {
		var in struct {
			Letter schemas.DeadLetter  `json:"letter"`
			Header map[string][]string `json:"header"`
			Body   jsontext.Value      `json:"body"`
			Text   string              `json:"text"` // instead of a body
		}
		ts.Check(json.Unmarshal([]byte(line), &in, json.MatchCaseInsensitiveNames(true)))
		if in.Text != "" {
			in.Body = jsontext.Value(in.Text)
		}
		ts.Check(bus.Park(r.t.Context(), uuid.NewString(), in.Letter, in.Header, in.Body))
	}
}

func (r *rig) long(ts *testscript.TestScript, _ bool, args []string) {
	bus, err := publisher.New(r.t.Context(), r.js)
	ts.Check(err)
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	letter := schemas.DeadLetter{Reason: schemas.ReasonInvalid, Subject: args[0], Sequence: 1, Deliveries: 1, At: time.Unix(1, 0)}
	ts.Check(bus.Park(r.t.Context(), uuid.NewString(), letter, nil, []byte(strings.Repeat("x", size))))
}

func (r *rig) nostream(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(r.js.DeleteStream(r.t.Context(), args[0]))
}

func (r *rig) purge(ts *testscript.TestScript, _ bool, args []string) {
	stream, err := r.js.Stream(r.t.Context(), args[0])
	ts.Check(err)
	ts.Check(stream.Purge(r.t.Context()))
}

func (r *rig) audited(ts *testscript.TestScript, _ bool, args []string) {
	data := schemas.AuditData{Operator: "night shift", Host: "ops-1"}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &data))
	ts.Check(publisher.Record(r.t.Context(), r.js, schemas.NewAudit(time.Now(), data)))
}

func (r *rig) raw(ts *testscript.TestScript, _ bool, args []string) {
	r.publish(ts, args[0], []byte(ts.ReadFile(args[1])))
}

func (r *rig) publish(ts *testscript.TestScript, subject string, body []byte) {
	_, err := r.js.PublishMsg(r.t.Context(), &nats.Msg{Subject: subject, Data: body})
	ts.Check(err)
}

func (r *rig) last(ts *testscript.TestScript, _ bool, args []string) {
	name, err := r.js.StreamNameBySubject(r.t.Context(), args[0])
	ts.Check(err)
	messages := consumertest.Collect(r.t, r.js, name, args[0])
	if len(messages) == 0 {
		ts.Fatalf("%s holds nothing on %s", name, args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), append(messages[len(messages)-1].Data, '\n'), 0o600))
}

func (r *rig) redis(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv("REDIS_URL", consumertest.Redis(r.t, args...).URL())
}

func (r *rig) linepay(ts *testscript.TestScript, _ bool, _ []string) {
	r.pay = consumertest.Simulator(r.t)
	r.account(ts, r.pay)
}

func (r *rig) account(ts *testscript.TestScript, pay *consumertest.LINEPay) {
	for name, value := range map[string]string{
		"LINEPAY_BASE_URL": pay.URL, "LINEPAY_CHANNEL_ID": pay.ChannelID, "LINEPAY_CHANNEL_SECRET": pay.Secret.Reveal(),
		"LINEPAY_HOST": strings.TrimPrefix(pay.URL, "http://"),
	} {
		ts.Setenv(name, value)
	}
}

func (r *rig) narrow(ts *testscript.TestScript, _ bool, args []string) {
	_, err := r.js.CreateConsumer(r.t.Context(), schemas.StreamCommands, jetstream.ConsumerConfig{
		Durable: schemas.ConsumerPrefix + args[0], FilterSubject: "linepay.commands." + args[0] + ".*", AckWait: time.Second, MaxAckPending: -1,
	})
	ts.Check(err)
}

func (r *rig) event(ts *testscript.TestScript, _ bool, args []string) {
	found := consumertest.Eventually(r.t, func(context.Context) bool {
		for _, msg := range consumertest.Collect(r.t, r.js, schemas.StreamEvents, schemas.SubjectsEvents) {
			if event, err := schemas.DecodeEvent(msg.Data); err == nil && event.Data.Command.ID == args[0] {
				return true
			}
		}
		return false
	})
	if !found {
		ts.Fatalf("no event of command %s", args[0])
	}
}

func (r *rig) letters(ts *testscript.TestScript, _ bool, args []string) {
	count, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(parkSome(r.t, r.js, args[0], args[1], count))
}

// parkSome stores dead letters of commands whose publisher has tried to make them look like a status of the server.
func parkSome(t *testing.T, js jetstream.JetStream, channel, reason string, count int) error {
	t.Helper()
	for i := range count {
		msg := nats.NewMsg(schemas.DeadLetterSubject(channel, "confirm"))
		msg.Header = nats.Header((schemas.DeadLetter{
			Reason: reason, Subject: schemas.CommandSubject(channel, "confirm"), Sequence: uint64(i + 1), Deliveries: 1, At: time.Now(),
		}).Headers())
		msg.Header.Set("Status", []string{"100", "404", "408", "409", "503"}[i%5])
		if _, err := js.PublishMsgAsync(msg); err != nil {
			return err
		}
		if i%1000 == 999 || i == count-1 {
			select {
			case <-js.PublishAsyncComplete():
			case <-t.Context().Done():
				return t.Context().Err()
			}
		}
	}
	return nil
}

func (r *rig) idle(ts *testscript.TestScript, _ bool, args []string) {
	_, err := r.js.PauseConsumer(r.t.Context(), schemas.StreamCommands, schemas.ConsumerPrefix+args[0], time.Now().Add(time.Hour))
	ts.Check(err)
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(program, args[1:]...)
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != want {
		ts.Fatalf("linepayctl %q: %v, want exit code %d", args[1:], err, want)
	}
}

package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// stream looks at a stream, within the patience that a check-up has.
func (w Work) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	js, err := jetstream.New(w.NATS)
	if err != nil {
		return nil, err
	}
	return js.Stream(ctx, name)
}

// checkStreams compares the streams with those that a worker would create, and asks how many servers hold them.
func (w Work) checkStreams(ctx context.Context) (findings []Finding) {
	if w.NATS == nil {
		return nil
	}
	for _, want := range publisher.Streams(publisher.StreamOptions{Replicas: w.Streams.Replicas, DedupeWindow: w.Streams.DedupeWindow}) {
		where := "stream " + want.Name
		found, err := w.stream(ctx, want.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			findings = append(findings, Finding{
				Severity: Broken, Where: where, Setting: "stream", Value: "does not exist", Problem: "there is no such stream in this account",
				Cost: "nothing can be published to it", Remedy: "start a worker with --provision, which creates it; or see that NATS_URL is right",
			})
		case NoJetStream(err):
			return []Finding{{
				Severity: Broken, Where: "nats", Setting: "jetstream", Value: "not enabled", Problem: "there is no JetStream for this account",
				Cost: "there are no commands and no events", Remedy: "start nats-server with -js, and enable JetStream for the account",
			}}
		case err != nil:
			findings = append(findings, unseen(where, "settings", err))
		default:
			findings = append(findings, drift(found.CachedInfo().Config, want)...)
			findings = append(findings, streamReplicas(found.CachedInfo()))
			findings = append(findings, streamRoom(found.CachedInfo())...)
		}
	}
	return findings
}

// drift tells how a stream differs from the one that a worker would create.
func drift(got, want jetstream.StreamConfig) (findings []Finding) {
	where := "stream " + got.Name
	harmless, dangerous := publisher.Compare(got, want)
	for _, fault := range dangerous {
		findings = append(findings, Finding{
			Severity: Broken, Where: where, Setting: "settings", Value: "dangerous", Problem: fault,
			Cost: "messages get lost, so no worker starts", Remedy: "nats stream edit " + got.Name,
		})
	}
	for _, difference := range harmless {
		findings = append(findings, Finding{
			Severity: Note, Where: where, Setting: "settings", Value: "different", Problem: strings.TrimPrefix(difference, where+": "),
			Cost:   "no command; workers leave the stream as it is",
			Remedy: "if that is not on purpose: nats stream edit " + got.Name + ", or set the worker to it",
		})
	}
	if len(findings) == 0 {
		findings = append(findings, Finding{Severity: Fine, Where: where, Setting: "settings", Value: "as a worker creates it"})
	}
	return findings
}

// streamReplicas tells how many servers hold a stream. Two are no better than one: both are needed for a majority.
func streamReplicas(info *jetstream.StreamInfo) Finding {
	name, replicas := info.Config.Name, info.Config.Replicas
	f := Finding{Severity: Fine, Where: "stream " + name, Setting: "replicas", Value: strconv.Itoa(replicas)}
	var behind []string
	if info.Cluster != nil {
		for _, peer := range info.Cluster.Replicas {
			if peer.Offline || !peer.Current {
				behind = append(behind, peer.Name)
			}
		}
	}
	switch {
	case replicas < 3:
		f.Severity, f.Problem = Weak, "the loss of one server, or of its disk, takes the stream with it"
		f.Cost = "acknowledged messages are lost with the disk; while the server is away, nothing is taken or told"
		f.Remedy = "run three servers, and: nats stream edit " + name + " --replicas 3"
	case len(behind) > 0:
		f.Severity, f.Value = Weak, fmt.Sprintf("%d, %d of them behind or away", replicas, len(behind))
		f.Problem = strings.Join(behind, ", ") + " does not have all of the stream"
		f.Cost, f.Remedy = "one more server lost stops the stream", "bring that server back: nats stream cluster info "+name
	}
	return f
}

// nearlyFull is how far a stream may be filled before it is told: the same as in the alerts.
const nearlyFull = 0.8

// streamRoom tells of a stream that is, or soon will be, too full to take anything.
func streamRoom(info *jetstream.StreamInfo) []Finding {
	name, part := info.Config.Name, filled(info)
	if part <= nearlyFull {
		return nil
	}
	f := Finding{
		Severity: Weak, Where: "stream " + name, Setting: "limits", Value: fmt.Sprintf("%.0f%% full", 100*part),
		Problem: "it is nearly full, and full it takes nothing",
		Cost:    "while it is full, what is done cannot be told, and its commands wait",
		Remedy:  "raise its limit, and purge nothing: nats stream edit " + name + " --max-bytes=SIZE or --max-msgs=NUMBER",
	}
	switch name {
	case schemas.StreamCommands:
		f.Cost = "while it is full, publishers are refused, and have to try again"
	case schemas.StreamAudit:
		f.Cost = "while it is full, linepayctl changes nothing, since nothing is done that is not on record"
	}
	if part >= 1 {
		f.Severity, f.Problem = Broken, "it is full, and takes nothing"
	}
	return []Finding{f}
}

// checkConsumers compares the consumer of each channel with the one that a worker would create.
func (w Work) checkConsumers(ctx context.Context) (findings []Finding) {
	if w.NATS == nil {
		return nil
	}
	stream, err := w.stream(ctx, schemas.StreamCommands)
	if err != nil { // which is found with the streams
		return nil
	}
	for _, channel := range w.Channels {
		client, err := w.Client(channel)
		if err != nil { // which is found with the accounts
			continue
		}
		findings = append(findings, checkConsumer(ctx, stream, consumer.Config{Channel: channel.Name, LINEPay: client})...)
	}
	return findings
}

func checkConsumer(ctx context.Context, stream jetstream.Stream, config consumer.Config) (findings []Finding) {
	name := consumer.ConsumerName(config.Channel)
	where := "consumer " + name
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := stream.Consumer(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return []Finding{{
			Severity: Note, Where: where, Setting: "consumer", Value: "does not exist", Problem: "no worker has served this channel yet",
			Cost: "its commands wait", Remedy: "start a worker with --provision, which creates it",
		}}
	case err != nil:
		return []Finding{unseen(where, "settings", err)}
	}
	info := found.CachedInfo()
	for _, fault := range config.Drift(info.Config) {
		findings = append(findings, Finding{
			Severity: Broken, Where: where, Setting: "settings", Value: "changed", Problem: fault.Error(),
			Cost:   "a worker that starts refuses it, or mends a short AckWait and a limit of pending commands; one that runs works on with it",
			Remedy: "nats consumer edit " + schemas.StreamCommands + " " + name + "; what cannot be edited: delete it while no worker runs",
		})
	}
	if until := info.Config.PauseUntil; info.Paused && until != nil {
		findings = append(findings, Finding{
			Severity: Note, Where: where, Setting: "pause_until", Value: until.UTC().Format(time.RFC3339),
			Problem: "the channel is paused", Cost: "its commands wait", Remedy: "linepayctl resume " + config.Channel + " --because TEXT",
		})
	}
	if len(findings) == 0 {
		findings = append(findings, Finding{Severity: Fine, Where: where, Setting: "settings", Value: "as a worker creates it"})
	}
	return findings
}

// checkUnserved finds commands that no worker will take, since nobody has made a consumer for their channel, and consumers that would take
// commands away from the workers. The channels in starting are about to get their consumers.
func (w Work) checkUnserved(ctx context.Context, starting ...Channel) (findings []Finding) {
	if w.NATS == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	where := "stream " + schemas.StreamCommands
	stream, err := w.stream(ctx, schemas.StreamCommands)
	if err != nil { // which is found with the streams
		return nil
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(schemas.SubjectsCommands))
	if err != nil {
		return []Finding{unseen(where, "subjects", err)}
	}
	waiting := map[string]uint64{}
	for subject, count := range info.State.Subjects {
		waiting[strings.Split(subject, ".")[2]] += count
	}
	consumers := stream.ConsumerNames(ctx)
	for name := range consumers.Name() {
		channel, ours := strings.CutPrefix(name, schemas.ConsumerPrefix)
		if ours {
			delete(waiting, channel)
		} else if info.Config.Retention == jetstream.WorkQueuePolicy {
			findings = append(findings, stranger(name))
		}
	}
	if err := consumers.Err(); err != nil {
		return []Finding{unseen(where, "consumers", err)}
	}
	for _, channel := range starting {
		delete(waiting, channel.Name)
	}
	for _, channel := range slices.Sorted(maps.Keys(waiting)) {
		findings = append(findings, unserved(channel, waiting[channel]))
	}
	return findings
}

func stranger(name string) Finding {
	return Finding{
		Severity: Weak, Where: "consumer " + name, Setting: "consumer", Value: "not a worker's",
		Problem: "it takes commands out of " + schemas.StreamCommands,
		Cost:    "what it acknowledges is gone, without an event or a dead letter",
		Remedy:  "nats consumer rm " + schemas.StreamCommands + " " + name,
	}
}

func unserved(channel string, count uint64) Finding {
	f := Finding{
		Severity: Weak, Where: "channel " + channel, Setting: "consumer", Value: "does not exist",
		Problem: fmt.Sprintf("commands that nobody takes: %d on %s", count, schemas.CommandSubject(channel, "*")),
		Cost:    "they wait, for ever if need be",
		Remedy:  "configure the channel for a worker; or publish them where they belong, and then purge this subject",
	}
	if err := schemas.ValidChannel(channel); err != nil {
		f.Remedy = "publish them where they belong, and then purge this subject, which no worker can serve: " + err.Error()
	}
	return f
}

// checkSync asks NATS how soon it has on disk what it acknowledges. That is a setting of the server, which it tells on its monitoring port
// and to its system account, or to whom that account has exported it.
func (w Work) checkSync(ctx context.Context, monitoring []string) (findings []Finding) {
	if w.NATS == nil && len(monitoring) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var told []serverVars
	for _, address := range monitoring {
		vars, err := varsOverHTTP(ctx, address)
		if err != nil {
			findings = append(findings, unseen("nats "+redact(address), "sync_interval", err))
			continue
		}
		told = append(told, vars)
	}
	if len(monitoring) == 0 {
		told = varsOverNATS(ctx, w.NATS)
	}
	for _, vars := range told {
		findings = append(findings, vars.finding())
	}
	if len(findings) > 0 {
		return findings
	}
	return []Finding{{
		Severity: Note, Where: "nats", Setting: "sync_interval", Value: "cannot be seen",
		Problem: "NATS tells it to its system account and on its monitoring port only",
		Cost:    "at its default, a machine that loses power forgets up to two minutes of acknowledged messages",
		Remedy: "name the monitoring port with --nats-monitoring, or look into nats-server.conf: jetstream { sync_interval: always }; " +
			"see README",
	}}
}

// serverVars is what is read of a server's varz.
type serverVars struct {
	Name      string `json:"server_name"`
	JetStream struct {
		Config *struct {
			SyncInterval int64 `json:"sync_interval"` // nanoseconds
			SyncAlways   bool  `json:"sync_always"`
		} `json:"config"`
	} `json:"jetstream"`
}

func (v serverVars) finding() Finding {
	f := Finding{Severity: Fine, Where: "nats " + v.Name, Setting: "sync_interval", Value: "always"}
	switch {
	case v.JetStream.Config == nil:
		f.Severity, f.Value, f.Problem = Note, "none", "this server does not store messages"
		f.Cost, f.Remedy = "nothing, if others do", "none"
	case !v.JetStream.Config.SyncAlways:
		interval := time.Duration(v.JetStream.Config.SyncInterval).String()
		f.Severity, f.Value, f.Problem = Weak, interval, "NATS acknowledges messages before they are on disk"
		f.Cost = "when its machine fails, up to " + interval + " of acknowledged commands and events are lost, unless a replica kept them"
		f.Remedy = "in nats-server.conf: jetstream { sync_interval: always }; beside a payment call it takes no time"
	}
	return f
}

func varsOverHTTP(ctx context.Context, address string) (vars serverVars, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+"/varz", nil)
	if err != nil {
		return vars, errors.New("not an address such as http://host:8222")
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return vars, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return vars, fmt.Errorf("/varz answers with HTTP status %d", response.StatusCode)
	}
	return vars, json.UnmarshalRead(response.Body, &vars)
}

// varsOverNATS collects the answers of all servers until none has come for a while. Who may not ask, gets none.
func varsOverNATS(ctx context.Context, conn *nats.Conn) (told []serverVars) {
	const pause = 500 * time.Millisecond
	inbox := conn.NewInbox()
	answers, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := conn.PublishRequest("$SYS.REQ.SERVER.PING.VARZ", inbox, nil); err != nil {
		return nil
	}
	for {
		ctx, cancel := context.WithTimeout(ctx, pause)
		msg, err := answers.NextMsgWithContext(ctx)
		cancel()
		if err != nil {
			return told
		}
		var answer struct {
			Data *serverVars `json:"data"`
		}
		if json.Unmarshal(msg.Data, &answer) == nil && answer.Data != nil {
			told = append(told, *answer.Data)
		}
	}
}

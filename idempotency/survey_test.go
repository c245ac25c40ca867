package idempotency

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// ownStores are servers that nothing else writes to: a survey sees all that there is.
var ownStores = []store{{"standalone", startStandalone}, {"cluster", startCluster}, {"miniredis", startMiniredis}}

// another gives the scene another entity.
func (s *scene) another() *scene {
	other := *s
	other.entity.ID = fmt.Sprintf("another-%d", entities.Add(1))
	return &other
}

func (s *scene) survey(most int) *Survey {
	s.Helper()
	survey, err := TakeSurvey(s.ctx, s.redis, most)
	if err != nil {
		s.Fatal(err)
	}
	return survey
}

// counts leaves out what differs from run to run.
func counts(s *Survey) Survey {
	return Survey{
		UnderWay: s.UnderWay, Retrying: s.Retrying, InDoubt: s.InDoubt, ParkedUnknown: s.ParkedUnknown, Damaged: s.Damaged,
		Entities: s.Entities, Complete: s.Complete,
	}
}

func TestSurveyCountsWhatIsNotOver(t *testing.T) {
	t.Parallel()
	for _, st := range ownStores {
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, st, false)
			if diff := cmp.Diff(Survey{Complete: true}, counts(s.survey(0))); diff != "" {
				t.Fatalf("the survey of nothing differs (-want +got):\n%s", diff)
			}
			s.another().claim("under way")
			s.another().lapse("lapsed", operation("void:1"))
			doubt := s.another()
			doubt.release(doubt.claim("unknown", operation("capture:1")), Release{Unknown: true, RetryAfter: long})
			retrying := s.another()
			retrying.release(retrying.claim("not called"), Release{RetryAfter: long})
			parked := s.another()
			parked.parked(parked.claim("parked", operation("confirm:1")), true)
			unmoved := s.another()
			unmoved.parked(unmoved.claim("unmoved"), false)
			refused := s.another()
			refused.refused(refused.claim("refused"))
			both := s.another()
			both.done(both.claim("done"))
			both.claim("and one more", operation(refundB))
			both.want(both.claim("waits", operation(refundA+"x")), Busy, ReasonHeldPrefix+refundB)

			got := s.survey(0)
			want := Survey{UnderWay: 2, Retrying: 1, InDoubt: 2, ParkedUnknown: 1, Entities: 8, Complete: true}
			if diff := cmp.Diff(want, counts(got)); diff != "" {
				t.Errorf("the survey differs (-want +got):\n%s", diff)
			}
			if len(got.Doubts) != 2 || got.Doubts[0].Operation != "void:1" || got.Doubts[1].Operation != "capture:1" {
				t.Fatalf("in doubt are %+v, want the lapsed one first", got.Doubts)
			}
			if first, last := got.Doubts[0], got.Doubts[1]; first.NextLook.After(got.Now) || !near(last.NextLook, got.Now.Add(long)) ||
				first.Owner.ID != "lapsed" || !near(last.Claimed, got.Now) {
				t.Errorf("at %v, in doubt are %+v", got.Now, got.Doubts)
			}
			if len(got.Parked) != 1 || got.Parked[0].Operation != "confirm:1" || !got.Parked[0].NextLook.IsZero() ||
				!near(got.Parked[0].Claimed, got.Now) {
				t.Errorf("parked are %+v", got.Parked)
			}
		})
	}
}

func TestSurveyPassesOverWhatIsNotTheGuardsAndCountsWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, st := range ownStores {
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, st, false)
			s.claim("A")
			const bucket = "{linepay:03}:"
			entity := func(n int) string { return bucket + fmt.Sprintf("order:%064x", n) }
			for _, err := range []error{
				s.redis.Set(s.ctx, bucket+"ready", "1", 0).Err(),
				s.redis.Set(s.ctx, "{linepay:03}:cart:"+strings.Repeat("0", 64), "1", 0).Err(),
				s.redis.Set(s.ctx, bucket+"order:7", "1", 0).Err(),
				s.redis.Set(s.ctx, entity(1), "no hash", 0).Err(),
				s.redis.HSet(s.ctx, entity(2), "open", "{").Err(),
				s.redis.HSet(s.ctx, entity(3), "open", `{"refund:1:a":true}`, "op:refund:1:a", `{"v":1`).Err(),
				s.redis.HSet(s.ctx, entity(4), "open", `{"refund:1:a":true,"refund:1:b":true}`, "op:refund:1:a", `{"v":2,"st":"claimed"}`).Err(),
				s.redis.HSet(s.ctx, entity(5), "gate", "x").Err(),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(Survey{UnderWay: 1, Damaged: 4, Entities: 6, Complete: true}, counts(s.survey(0))); diff != "" {
				t.Errorf("the survey differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSurveyNamesTheTenThatAreDueFirst(t *testing.T) {
	t.Parallel()
	s, _ := ownServer(t)
	for i := range 25 {
		one := s.another()
		retry := time.Duration((i*7)%25+1) * time.Hour
		one.release(one.claim("A", operation(fmt.Sprintf("void:%d", (i*7)%25))), Release{Unknown: true, RetryAfter: retry})
	}
	// In doubt, and waiting for another operation: it has announced no time.
	_, key := entityKey(s.another().entity)
	if err := s.redis.HSet(s.ctx, key, "open", `{"void:w":true}`, "op:void:w", `{"v":1,"st":"waiting","doubt":true}`).Err(); err != nil {
		t.Fatal(err)
	}
	got := s.survey(0)
	var operations []string
	for _, doubt := range got.Doubts {
		operations = append(operations, doubt.Operation)
	}
	want := []string{"void:0", "void:1", "void:2", "void:3", "void:4", "void:5", "void:6", "void:7", "void:8", "void:9"}
	if got.InDoubt != 26 || !slices.Equal(operations, want) {
		t.Errorf("%d in doubt, first %v, want 26, first %v", got.InDoubt, operations, want)
	}
	unknown := first([]Doubt{{Operation: "a"}, {Operation: "b", NextLook: got.Now}}, func(d Doubt) time.Time { return d.NextLook })
	if unknown[0].Operation != "b" {
		t.Errorf("a time that is not known comes before one that is: %v", unknown)
	}
}

func TestSurveySeesEachOfMany(t *testing.T) {
	t.Parallel()
	s, _ := ownServer(t)
	const many = 5000
	_, err := s.redis.Pipelined(s.ctx, func(p redis.Pipeliner) error {
		for i := range many {
			e := s.entity
			e.ID = fmt.Sprint(i)
			_, key := entityKey(e)
			p.HSet(s.ctx, key, "open", `{"void:1":true}`, "op:void:1", `{"v":1,"st":"open","doubt":true,"retry":1.7e+12}`)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := s.survey(0)
	if got.InDoubt != many || got.Entities < many || !got.Complete || got.Doubts[0].NextLook.UnixMilli() != 1_700_000_000_000 {
		t.Errorf("of %d in doubt, the survey tells %+v", many, counts(got))
	}
	if got := s.survey(2000); got.Complete || got.InDoubt < 2000 || got.InDoubt >= many {
		t.Errorf("of at least 2000, the survey tells %+v", counts(got))
	}
}

func TestSurveyGoesThroughAllShardsOfARing(t *testing.T) {
	t.Parallel()
	one, _ := ownServer(t)
	two, _ := ownServer(t)
	one.claim("A")
	two.claim("B")
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{
		"one": one.redis.(*redis.Client).Options().Addr, "two": two.redis.(*redis.Client).Options().Addr,
	}})
	defer ring.Close()
	got, err := TakeSurvey(t.Context(), ring, 0)
	if err != nil || got.UnderWay != 2 {
		t.Errorf("of two shards with a claim each, the survey tells %+v, error %v", got, err)
	}
}

// recorder notes the commands that reach Redis.
type recorder struct {
	mu    sync.Mutex
	names map[string]bool
}

func (r *recorder) note(commands ...redis.Cmder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, command := range commands {
		r.names[command.Name()] = true
	}
}

func (r *recorder) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *recorder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		r.note(command)
		return next(ctx, command)
	}
}

func (r *recorder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		r.note(commands...)
		return next(ctx, commands)
	}
}

func TestSurveyOnlyReadsAndNeverBlocksRedis(t *testing.T) {
	t.Parallel()
	s, _ := ownServer(t)
	s.claim("A")
	r := &recorder{names: map[string]bool{}}
	s.redis.AddHook(r)
	s.survey(0)
	delete(r.names, "hello") // what a new connection begins with
	delete(r.names, "client")
	delete(r.names, "pipeline")
	if want := map[string]bool{"time": true, "scan": true, "hmget": true}; !cmp.Equal(want, r.names) {
		t.Errorf("a survey sends %v, want %v", r.names, want)
	}
}

// breaking lets so many commands of a name, or pipelines of them, through, and fails those that follow.
type breaking struct {
	name    string
	through int
	failed  bool
}

var errBroken = errors.New("broken on purpose")

func (b *breaking) strikes(name string) bool {
	if name != b.name {
		return false
	}
	b.through--
	b.failed = b.failed || b.through < 0
	return b.failed
}

func (b *breaking) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *breaking) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if b.strikes(command.Name()) {
			command.SetErr(errBroken)
			return errBroken
		}
		return next(ctx, command)
	}
}

func (b *breaking) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if b.strikes(commands[0].Name()) {
			for _, command := range commands {
				command.SetErr(errBroken)
			}
			return errBroken
		}
		return next(ctx, commands)
	}
}

func TestSurveyThatIsCutOffTellsWhatItSawAndThatItIsNotAll(t *testing.T) {
	t.Parallel()
	s, _ := ownServer(t)
	for range 3000 {
		_, key := entityKey(s.another().entity)
		if err := s.redis.HSet(s.ctx, key, "open", `{"void:1":true}`, "op:void:1", `{"v":1,"st":"open","doubt":true}`).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name       string
		through    int
		least, all int
		says       string
	}{
		{"time", 0, 0, 0, "read the time"},
		{"scan", 0, 0, 0, "survey"},
		{"scan", 1, 900, 2000, "survey"},
		{"hmget", 0, 0, 0, "survey"},
		{"hmget", 1, 0, 0, "survey"},
		{"hmget", 2, 900, 2000, "survey"},
	} {
		client := redis.NewClient(s.redis.(*redis.Client).Options())
		client.AddHook(&breaking{name: c.name, through: c.through})
		got, err := TakeSurvey(s.ctx, client, 0)
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, errBroken) || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%s fails after %d: error %v", c.name, c.through, err)
		}
		if got.Complete || got.InDoubt < c.least || got.InDoubt > c.all {
			t.Errorf("%s fails after %d: the survey tells %+v", c.name, c.through, counts(got))
		}
		_ = client.Close()
	}
}

func TestSurveyWithoutRedisIsUnavailable(t *testing.T) {
	t.Parallel()
	s, stop := ownServer(t)
	s.claim("A")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := TakeSurvey(ctx, s.redis, 0); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want ErrUnavailable and that of the context", err)
	}
	stop()
	if got, err := TakeSurvey(s.ctx, s.redis, 0); !errors.Is(err, ErrUnavailable) || got.Complete {
		t.Errorf("error %v and %+v, want ErrUnavailable", err, got)
	}
}

func TestSurveyTellsSinceWhenTheOldestIsInDoubt(t *testing.T) {
	t.Parallel()
	s := Survey{Now: time.UnixMilli(9000)}
	for _, row := range []struct {
		record string
		want   int64 // in ms; 0 = none is in doubt
	}{
		{`{"v":1,"st":"open","at":100,"first":100}`, 0},
		{`{"v":1,"st":"claimed","lease":9500,"msu":9400,"at":100}`, 0},
		{`{"v":1,"st":"parked","doubt":true,"msu":50}`, 0},
		{`{"v":1,"st":"open","doubt":true}`, 0},
		{`{"v":1,"st":"open","doubt":true,"msu":8000,"first":10,"at":7900}`, 8000},
		{`{"v":1,"st":"open","doubt":true,"msu":8500}`, 8000},
		{`{"v":1,"st":"claimed","lease":8900,"msu":7000,"first":20}`, 7000},
		{`{"v":1,"st":"open","doubt":true,"first":6000,"at":6500}`, 6000},
		{`{"v":1,"st":"open","doubt":true,"at":5e3}`, 5000},
		{`{"v":1,"st":"open","doubt":true}`, 5000},
	} {
		s.count("void:1", row.record)
		if got := s.DoubtSince; got.IsZero() != (row.want == 0) || row.want > 0 && got.UnixMilli() != row.want {
			t.Errorf("after %s, the oldest is in doubt since %v, want %d", row.record, got, row.want)
		}
	}
}

package idempotency

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Workers of two versions work side by side while one takes the other's place, and records live for months. testdata/records/v1 has one of
// every kind, as version 1 wrote it; every later version reads them. A version that writes other records gives them another number, and a
// folder of their own.
//
// UPDATE_RECORDS=1 go test ./idempotency -run Released writes what is missing; what is there is never written again.
var releasedRecords = []struct {
	name string
	make func(s *scene)
	read func(s *scene)
}{
	{"waiting", func(s *scene) {
		x := s.claim("X", operation(confirm))
		s.claim("A", shortPlace)
		s.release(x, Release{})
		s.stayAway()
	}, func(s *scene) { s.want(s.claim("A"), Fresh, ReasonNew) }},
	{"claimed, and lapsed", func(s *scene) { s.lapse("A") }, func(s *scene) {
		if c := s.want(s.claim("A"), InDoubt, ReasonLapsed); c.Calls != 1 {
			s.Errorf("%d calls, want 1", c.Calls)
		}
	}},
	{"open, and in doubt", func(s *scene) {
		c := s.extend(s.claim("A"), Extension{Snapshot: []byte(`{"refunds":["7"]}`)})
		s.release(c, Release{Unknown: true})
	}, func(s *scene) {
		s.want(s.claim("B", operation(refundB)), Busy, ReasonHeldPrefix+refundA)
		if c := s.want(s.claim("A"), InDoubt, ReasonUnknown); string(c.Snapshot) != `{"refunds":["7"]}` || c.Owner.ID != "A" {
			s.Errorf("snapshot %s of %s", c.Snapshot, c.Owner.ID)
		}
	}},
	{"open, and not sent", func(s *scene) { s.release(s.claim("A"), Release{}) }, func(s *scene) { s.want(s.claim("A"), Fresh, ReasonNotSent) }},
	{"done", func(s *scene) {
		s.settle(s.claim("A"), Settlement{State: StateDone, Outcome: []byte(`{"done":"ü\""}`), Effect: "2026010100000000009"})
	}, func(s *scene) {
		if c := s.want(s.claim("A"), Done, ReasonSettled); string(c.Outcome) != `{"done":"ü\""}` {
			s.Errorf("outcome %s", c.Outcome)
		}
		s.want(s.claim("B"), Duplicate, ReasonSettled)
		s.want(s.claim("C", print("other")), Conflict, ReasonFingerprint)
		if c := s.want(s.claim("D", operation(refundB)), Fresh, ReasonNew); len(c.Owned) != 1 || c.Owned[0] != "2026010100000000009" {
			s.Errorf("owned by others: %v", c.Owned)
		}
	}},
	{"refused", func(s *scene) { s.settle(s.claim("A"), Settlement{State: StateRefused, Outcome: []byte(`{}`)}) }, func(s *scene) {
		s.want(s.claim("A"), RefusedBefore, ReasonSettled)
		s.want(s.claim("B"), Fresh, ReasonFreed)
	}},
	{"parked, money unknown", func(s *scene) { s.parked(s.claim("A"), true) }, func(s *scene) {
		s.want(s.claim("A"), Parked, ReasonSettled)
		s.want(s.claim("A", replay(9)), InDoubt, ReasonParkedUnknown)
	}},
	{"parked, no money moved", func(s *scene) { s.parked(s.claim("A"), false) }, func(s *scene) {
		s.want(s.claim("A"), Parked, ReasonSettled)
		s.want(s.claim("A", replay(9)), Fresh, ReasonReopened)
	}},
}

func TestReleasedRecordsAreRead(t *testing.T) {
	t.Parallel()
	for _, st := range stores {
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range releasedRecords {
				t.Run(r.name, func(t *testing.T) {
					t.Parallel()
					s := newScene(t, st, false)
					path := filepath.Join("testdata", "records", "v1", strings.NewReplacer(",", "", " ", "-").Replace(r.name)+".json")
					if _, err := os.Stat(path); os.IsNotExist(err) && os.Getenv("UPDATE_RECORDS") != "" && st.name == "standalone" {
						r.make(s)
						s.keep(path)
						s.forget()
					}
					s.putBack(path)
					r.read(s)
				})
			}
		})
	}
}

func (s *scene) keep(path string) {
	s.Helper()
	_, key := entityKey(s.entity)
	text, err := json.MarshalIndent(s.redis.HGetAll(s.ctx, key).Val(), "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) putBack(path string) {
	s.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	var fields map[string]string
	if err := json.Unmarshal(text, &fields); err != nil {
		s.Fatalf("%s: %v", path, err)
	}
	_, key := entityKey(s.entity)
	if err := s.redis.HSet(s.ctx, key, fields).Err(); err != nil {
		s.Fatal(err)
	}
}

package idempotency

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"
)

// Survey counts what is not over yet in the guard's records, of all merchants: names of entities are hashed, so they cannot be told apart.
type Survey struct {
	UnderWay int // claimed, with a lease that has not lapsed
	Retrying int // known not to have been called, and to be tried again
	InDoubt  int // a call may have happened: a lapsed claim, or one given back with its outcome unknown
	// DoubtSince is when the latest call of the operation that has been in doubt for the longest must have been over; where none was made, when
	// it was put on record. Zero where nothing is in doubt.
	DoubtSince time.Time
	// ParkedUnknown are parked while money may have moved. Only a person, or a replay, ends that.
	ParkedUnknown int
	Damaged       int // entities or records that cannot be read, or are of a newer version

	// Doubts are the operations in doubt that have been due for the longest, or will be due first, at most ten.
	Doubts []Doubt
	// Parked are the operations parked with their money unknown whose claim is the oldest, at most ten.
	Parked []Doubt

	Now      time.Time // Redis' clock when the survey began; of a cluster, that of any one node
	Entities int       // looked at, open or not; SCAN may give one twice
	Complete bool      // all were looked at; otherwise the counts are at least so many
}

// Doubt is one operation whose outcome is unknown.
type Doubt struct {
	Operation string    // the operation key
	Owner     Command   // who claimed it first
	Claimed   time.Time // when it was claimed last; zero if the record does not tell
	// NextLook is from when on the next delivery, or whoever waits for the entity, looks it up: when its owner means to come back, or the end
	// of the lease. Zero for what is parked, and where the record does not tell.
	NextLook time.Time
}

const (
	surveyPage     = 1000           // keys that one SCAN asks for
	surveyPipeline = 2 * surveyPage // commands in one pipeline: SCAN gives somewhat more than it was asked for
	surveyDoubts   = 10
)

// TakeSurvey walks through the guard's keys, of all masters in a cluster, and changes nothing. It goes on with SCAN, so that Redis answers
// others in between, and stops after most entities on each node; 0 is no limit. While slots move from node to node, some records may be
// missed.
//
// Errors: ErrUnavailable, also where ctx ends, with what was counted by then.
func TakeSurvey(ctx context.Context, client redis.UniversalClient, most int) (*Survey, error) {
	s := &surveyor{most: most, seen: map[string]bool{}, survey: Survey{Complete: true}}
	now, err := client.Time(ctx).Result()
	if err != nil {
		return &Survey{}, unavailable("read the time", err)
	}
	s.survey.Now = now.UTC()
	each := func(ctx context.Context, node *redis.Client) error { return s.walk(ctx, node) }
	switch client := client.(type) {
	case *redis.ClusterClient:
		err = client.ForEachMaster(ctx, each)
	case *redis.Ring:
		err = client.ForEachShard(ctx, each)
	default:
		err = s.walk(ctx, client)
	}
	if err != nil {
		s.survey.Complete = false
		return &s.survey, unavailable("survey", err)
	}
	return &s.survey, nil
}

// surveyor collects from all nodes side by side.
type surveyor struct {
	most   int
	mu     sync.Mutex
	seen   map[string]bool // open entities: SCAN may give a key twice
	survey Survey
}

// walk goes through the keys of one node.
func (s *surveyor) walk(ctx context.Context, node redis.Cmdable) error {
	for cursor, looked := uint64(0), 0; ; {
		keys, next, err := node.Scan(ctx, cursor, "{linepay:??}:*", surveyPage).Result()
		if err != nil {
			return err
		}
		keys = slices.DeleteFunc(keys, func(key string) bool { return !isEntity(key) })
		looked += len(keys)
		if err := s.look(ctx, node, keys); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
		if s.most > 0 && looked >= s.most {
			s.add(func(survey *Survey) { survey.Complete = false })
			return nil
		}
	}
}

// isEntity tells entities from epochs, and from what else begins like them.
func isEntity(key string) bool {
	parts := strings.Split(key, ":")
	return len(parts) == 4 && len(parts[3]) == 64 && slices.Contains([]string{KindTransaction, KindOrder, KindKey}, parts[2])
}

func (s *surveyor) add(count func(*Survey)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count(&s.survey)
}

// fresh gives those keys that have not been looked at before.
func (s *surveyor) fresh(keys []string) (fresh []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if !s.seen[key] {
			s.seen[key] = true
			fresh = append(fresh, key)
		}
	}
	return fresh
}

// look reads which records of the entities are open, and then those.
func (s *surveyor) look(ctx context.Context, node redis.Cmdable, keys []string) error {
	opens, err := fields(ctx, node, keys, func(string) []string { return []string{"open"} })
	if err != nil {
		return err
	}
	open := map[string][]string{}
	var damaged []string
	for i, key := range keys {
		if opens[i][0] == nil { // nothing is open, or the entity has expired since
			continue
		}
		var operations map[string]bool
		if err := json.Unmarshal([]byte(*opens[i][0]), &operations); err != nil {
			damaged = append(damaged, key)
			continue
		}
		for op := range operations {
			open[key] = append(open[key], "op:"+op)
		}
	}
	damaged = s.fresh(damaged)
	keys = s.fresh(slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return len(open[key]) == 0 }))
	records, err := fields(ctx, node, keys, func(key string) []string { return open[key] })
	if err != nil {
		return err
	}
	s.add(func(survey *Survey) {
		survey.Entities += len(opens)
		survey.Damaged += len(damaged)
		for i, key := range keys {
			for j, op := range open[key] {
				if records[i][j] != nil { // it may have ended in between
					survey.count(strings.TrimPrefix(op, "op:"), *records[i][j])
				}
			}
		}
	})
	return nil
}

// fields reads some fields of each entity in pipelines; nil stands for a field that is missing.
func fields(ctx context.Context, node redis.Cmdable, keys []string, of func(key string) []string) (all [][]*string, err error) {
	for page := range slices.Chunk(keys, surveyPipeline) {
		commands, _ := node.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, key := range page {
				p.HMGet(ctx, key, of(key)...)
			}
			return nil
		})
		for i, command := range commands {
			values := make([]*string, len(of(page[i])))
			switch err := command.Err(); {
			case redis.HasErrorPrefix(err, "WRONGTYPE"):
				values[0] = new(string) // which no record can be
			case err != nil:
				return nil, err
			}
			for j, value := range command.(*redis.SliceCmd).Val() {
				if text, ok := value.(string); ok {
					values[j] = &text
				}
			}
			all = append(all, values)
		}
	}
	return all, nil
}

// surveyed is what a survey reads of a record; see record.lua. Times are in ms: as floats, for the server may write them with an exponent.
type surveyed struct {
	Version int     `json:"v"`
	State   string  `json:"st"`
	Owner   Command `json:"own"`
	Doubt   bool    `json:"doubt"`
	Lease   float64 `json:"lease"`
	At      float64 `json:"at"`
	Retry   float64 `json:"retry"`
	Over    float64 `json:"msu"`
	First   float64 `json:"first"`
}

// doubtful is since when the operation is in doubt, should it be; zero where the record does not tell.
func (r surveyed) doubtful() time.Time {
	if since := cmp.Or(r.Over, r.First, r.At); since > 0 {
		return moment(int64(since))
	}
	return time.Time{}
}

// count sorts one record that is said to be open.
func (s *Survey) count(operation, text string) {
	var r surveyed
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Version != 1 {
		s.Damaged++
		return
	}
	doubt := Doubt{Operation: operation, Owner: r.Owner}
	if r.At > 0 {
		doubt.Claimed = moment(int64(r.At))
	}
	lapsed := r.State == "claimed" && !s.Now.Before(moment(int64(r.Lease)))
	switch {
	case r.State == "claimed" && !lapsed:
		s.UnderWay++
	case r.State == "parked": // and open, so with its money unknown
		s.ParkedUnknown++
		s.Parked = first(append(s.Parked, doubt), func(d Doubt) time.Time { return d.Claimed })
	case r.Doubt || lapsed:
		s.InDoubt++
		if since := r.doubtful(); !since.IsZero() && (s.DoubtSince.IsZero() || since.Before(s.DoubtSince)) {
			s.DoubtSince = since
		}
		doubt.NextLook = moment(int64(r.Retry))
		if lapsed {
			doubt.NextLook = moment(int64(r.Lease))
		}
		s.Doubts = first(append(s.Doubts, doubt), func(d Doubt) time.Time { return d.NextLook })
	case r.State == "open":
		s.Retrying++
	}
}

// first keeps those with the earliest times; a time that is not known comes last.
func first(doubts []Doubt, at func(Doubt) time.Time) []Doubt {
	slices.SortFunc(doubts, func(a, b Doubt) int {
		if unknown := at(a).IsZero(); unknown != at(b).IsZero() {
			return map[bool]int{true: 1, false: -1}[unknown]
		}
		return cmp.Or(at(a).Compare(at(b)), cmp.Compare(a.Operation, b.Operation))
	})
	return doubts[:min(len(doubts), surveyDoubts)]
}

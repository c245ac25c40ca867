package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// form is how much chaos there is.
type form struct {
	full     bool
	seed     uint64
	commands int           // distinct ones; some are sent more than once
	over     time.Duration // commands and faults are spread over this time; more where the workers cannot keep up
	atMost   time.Duration // when no more commands are begun, however few there were; 0: no limit
	faults   int           // of processes, at least
	live     int           // payments under way at a time
	honest   bool          // nobody makes refunds by hand just when their answers are lost
	times
}

// times are the workers' settings, shortened. A claim's lease is five read timeouts long, as is JetStream's AckWait.
type times struct {
	read, margin       time.Duration
	retryMin, retryMax time.Duration
	grace              time.Duration
}

func (t times) lease() time.Duration { return 5 * t.read }

// lost is how late an answer is that nobody waits for any more, and hold the most that the network takes to deliver a call. LINE Pay
// begins with no call after its caller believes that it never will: that is read timeout and margin after it gave up, far more than both.
func (t times) lost() time.Duration { return t.read + t.read/4 }
func (t times) hold() time.Duration { return t.margin / 4 }

func shortForm() form {
	return form{
		commands: 250, over: 5 * time.Second, atMost: 7 * time.Second, faults: 10, live: 80,
		times: times{
			read: 400 * time.Millisecond, margin: 1200 * time.Millisecond, retryMin: 50 * time.Millisecond, retryMax: time.Second,
			grace: 5 * time.Second,
		},
	}
}

func fullForm() form {
	return form{
		full: true, commands: 20_000, over: 8 * time.Minute, faults: 220, live: 400,
		times: times{
			read: time.Second, margin: 2 * time.Second, retryMin: 50 * time.Millisecond, retryMax: time.Second, grace: 10 * time.Second,
		},
	}
}

// chosenForm is the form that the environment asks for. A value that cannot be read fails the test: it was meant to do something.
func chosenForm(t *testing.T) form {
	t.Helper()
	f := shortForm()
	switch v := os.Getenv("CHAOS"); v {
	case "":
	case "full":
		f = fullForm()
	default:
		t.Fatalf("CHAOS is %q: set it to full, or not at all", v)
	}
	f.seed = rand.Uint64()
	read := func(name string, parse func(string) error) {
		v := os.Getenv(name)
		if v == "" {
			return
		}
		if err := parse(v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	read("CHAOS_SEED", func(v string) (err error) { f.seed, err = strconv.ParseUint(v, 10, 64); return err })
	read("CHAOS_COMMANDS", func(v string) (err error) { f.commands, err = strconv.Atoi(v); return err })
	read("CHAOS_FAULTS", func(v string) (err error) { f.faults, err = strconv.Atoi(v); return err })
	read("CHAOS_FOR", func(v string) (err error) { f.over, err = time.ParseDuration(v); return err })
	if f.commands < 1 || f.faults < 0 || f.over <= 0 {
		t.Fatalf("CHAOS_COMMANDS is %d, CHAOS_FAULTS %d, CHAOS_FOR %s: they must be above 0 (faults: 0 or more)", f.commands, f.faults, f.over)
	}
	return f
}

// dice make a run's decisions. They may be thrown by several goroutines.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

// newDice gives the dice of one purpose, so that what one goroutine decides does not depend on how often another one has thrown.
func newDice(seed uint64, purpose string) *dice {
	var h uint64 = 14695981039346656037
	for _, c := range []byte(purpose) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return &dice{r: rand.New(rand.NewPCG(seed, h))}
}

// n is 0 to most-1.
func (d *dice) n(most int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(most)
}

// one is true one time in most.
func (d *dice) one(most int) bool { return d.n(most) == 0 }

func (d *dice) between(least, most time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return least + time.Duration(d.r.Int64N(int64(max(most-least, 1))))
}

func (d *dice) shuffle(n int, swap func(i, j int)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.r.Shuffle(n, swap)
}

func pick[T any](d *dice, from []T) T { return from[d.n(len(from))] }

// tally counts by name.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[name]++
}

func (c *tally) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, each := range c.counts {
		n += each
	}
	return n
}

// String lists the counts by name.
func (c *tally) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return list(c.counts)
}

func list(counts map[string]int) (s string) {
	for _, name := range sorted(counts) {
		if s != "" {
			s += ", "
		}
		s += fmt.Sprintf("%s %d", name, counts[name])
	}
	return s
}

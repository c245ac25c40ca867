package consumer

import (
	"sync"
	"time"
)

func newDeliveries() deliveries {
	return deliveries{
		unclaimed: map[uint64]uint64{}, parked: map[uint64]string{}, spent: map[uint64]time.Duration{}, suspects: map[uint64]bool{},
	}
}

// deliveries remembers which deliveries ended in this process without a claim, as when Redis was away. JetStream counts them, and a
// command that was delivered before without leaving a record would be in doubt; these are known not to have called LINE Pay. It also
// remembers what has no other place between two deliveries.
type deliveries struct {
	mu        sync.Mutex
	unclaimed map[uint64]uint64        // by stream sequence: so many deliveries, the first ones, without a claim
	parked    map[uint64]string        // by stream sequence: the id of the dead letter, until the message is done with
	spent     map[uint64]time.Duration // by stream sequence: of the retry budget, for readings, which have no record
	suspects  map[uint64]bool          // by stream sequence: processes have crashed with it in hand
}

// enough entries for every command that an outage can catch in flight; what is forgotten is in doubt, which is safe.
const mostUnclaimed = 100_000

// redelivered says whether an earlier delivery of a message may have called LINE Pay.
func (d *deliveries) redelivered(sequence, delivery uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return delivery > d.unclaimed[sequence]+1
}

// neverClaimed notes that this delivery got no claim, and so did not call.
func (d *deliveries) neverClaimed(m *Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unclaimed[m.Sequence]+1 == m.Deliveries && len(d.unclaimed) < mostUnclaimed {
		d.unclaimed[m.Sequence] = m.Deliveries
	}
}

// spend counts against the retry budget of a reading, and gives what was spent before. Another process starts anew.
func (d *deliveries) spend(sequence uint64, pause func(before time.Duration) time.Duration) (before, now time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before = d.spent[sequence]
	now = pause(before)
	if len(d.spent) < mostUnclaimed {
		d.spent[sequence] = before + now
	}
	return before, now
}

func (d *deliveries) park(sequence uint64, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.parked) < mostUnclaimed {
		d.parked[sequence] = id
	}
}

func (d *deliveries) isParked(sequence uint64, id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.parked[sequence] == id
}

// suspect has the next delivery of a message handled alone.
func (d *deliveries) suspect(sequence uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.suspects[sequence] = true
}

// suspecting says whether suspects are yet to come back.
func (d *deliveries) suspecting() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.suspects) > 0
}

// suspected takes the mark off: a delivery that was handled alone has cleared the command, or has been its last.
func (d *deliveries) suspected(sequence uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer delete(d.suspects, sequence)
	return d.suspects[sequence]
}

// forget a message that is done with, or whose record now speaks for it.
func (d *deliveries) forget(sequence uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.unclaimed, sequence)
	delete(d.parked, sequence)
	delete(d.spent, sequence)
}

package consumer

import "sync"

// deliveries remembers which deliveries ended in this process without a claim, as when Redis was away. JetStream counts them, and a
// command that was delivered before without leaving a record would be in doubt; these are known not to have called LINE Pay.
type deliveries struct {
	mu        sync.Mutex
	unclaimed map[uint64]uint64 // by stream sequence: so many deliveries, the first ones, without a claim
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

// forget a message that is done with, or whose record now speaks for it.
func (d *deliveries) forget(sequence uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.unclaimed, sequence)
}

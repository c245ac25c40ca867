package simulator

import "linepay-worker/linepay"

// runKey is what LINE Pay serialises on: a payment, or a pre-approved key.
type runKey struct {
	channel *Channel
	id      linepay.TransactionID
	regKey  string
}

// run is a call with effect on its way.
type run struct {
	operation linepay.Operation
	over      chan struct{} // closed when it is carried out or refused
}

// perform carries the operation out, late if the fault says so. It is nil when the simulator was closed before.
func (s *Simulator) perform(c *call, f Fault) *answer {
	leave, refusal := s.enter(c)
	if refusal != nil {
		return refusal
	}
	defer leave()
	if f.When == During && !s.wait(f.Delay) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil && f.When == During {
		return nil
	}
	return c.route.carryOut(s, c)
}

// enter lets one call with effect at a time at a payment or a key. While it runs, the same operation is refused as a duplicate (1198;
// 1197 for a payment with a key), and another operation waits for its turn.
func (s *Simulator) enter(c *call) (leave func(), refusal *answer) {
	key, busy := turnOf(c)
	if key == (runKey{}) {
		return func() {}, nil
	}
	for {
		s.mu.Lock()
		before := s.running[key]
		if before == nil {
			mine := &run{c.route.operation, make(chan struct{})}
			s.running[key] = mine
			s.mu.Unlock()
			return func() { s.leave(key, mine) }, nil
		}
		s.mu.Unlock()
		if before.operation == c.route.operation && busy != "" {
			return nil, refuse(busy)
		}
		<-before.over // a run ends by itself: its delay is bounded, and Close ends it at once
	}
}

func (s *Simulator) leave(key runKey, mine *run) {
	s.mu.Lock()
	delete(s.running, key)
	s.mu.Unlock()
	close(mine.over)
}

// turnOf says what a call has to have for itself, and the code for a second one of its kind; "" means that the second waits.
func turnOf(c *call) (runKey, string) {
	switch c.route.operation {
	case linepay.Confirm, linepay.Capture, linepay.Void, linepay.Refund:
		return runKey{channel: c.channel, id: c.id}, "1198"
	case linepay.PreapprovedPay:
		return runKey{channel: c.channel, regKey: c.key}, "1197"
	case linepay.PreapprovedExpire:
		return runKey{channel: c.channel, regKey: c.key}, ""
	default:
		return runKey{}, ""
	}
}

package idempotency

import (
	"strings"
	"testing"
)

func errand(text string) func(*ClaimRequest) {
	return func(r *ClaimRequest) { r.Errand = []byte(text) }
}

// wantErrand looks at what a command that waits behind an operation in doubt would have to go by.
func (s *scene) wantErrand(c *Claim, want string) *Claim {
	s.Helper()
	if string(c.Errand) != want {
		s.Errorf("errand %q, want %q", c.Errand, want)
	}
	return c
}

// Whoever looks an operation up in its owner's name goes by the owner's errand: by another command's, the owner would be told of an amount, or
// an order, that was never its own.
func TestErrands(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{
		{"an errand is given to a probe in doubt and to nobody else", func(s *scene) {
			s.wantErrand(s.lapse("A", errand("of A")), "")
			s.pass(s.wantErrand(s.want(s.claim("B", bareProbe, lapsing0), InDoubt, ReasonLapsed), "of A").Until)
			s.wantErrand(s.want(s.claim("A"), InDoubt, ReasonLapsed), "")
		}},
		{"an errand is its owners whoever else looks the operation up", func(s *scene) {
			s.lapse("A", errand("of A"))
			s.lapse("B", errand("of B"))
			s.wantErrand(s.want(s.claim("C", bareProbe), InDoubt, ReasonLapsed), "of A")
		}},
		{"an errand outlasts its owners return without one", func(s *scene) {
			s.lapse("A", errand("of A"))
			s.pass(s.want(s.claim("A", bareProbe, lapsing0), InDoubt, ReasonLapsed).Until) // it has expired meanwhile
			s.wantErrand(s.want(s.claim("B", bareProbe), InDoubt, ReasonLapsed), "of A")
		}},
		{"an errand is replaced by its owners newer one", func(s *scene) {
			s.release(s.claim("A", errand("of A")), Release{})
			s.lapse("A", errand("of A, replayed"))
			s.wantErrand(s.want(s.claim("B", bareProbe), InDoubt, ReasonLapsed), "of A, replayed")
		}},
		{"an errand goes with its owner", func(s *scene) {
			s.release(s.claim("A", errand("of A")), Release{})
			s.stayAway()
			s.lapse("B")
			s.wantErrand(s.want(s.claim("C", bareProbe), InDoubt, ReasonLapsed), "")
		}},
		{"an errand goes when its owner gives up", func(s *scene) {
			s.release(s.claim("A", errand("of A")), Release{})
			s.want(s.claim("A", probe), Rejected, ReasonNever)
			s.pass(s.want(s.claim("B", bareProbe, redelivered, lapsing0), InDoubt, ReasonForgotten).Until)
			s.wantErrand(s.want(s.claim("C", bareProbe), InDoubt, ReasonLapsed), "")
		}},
		{"an errand goes when an event shows that its owner was refused", func(s *scene) {
			s.release(s.claim("A", errand("of A")), Release{})
			s.restore("A", Restoration{State: StateRefused})
			s.want(s.lapse("B", redelivered), InDoubt, ReasonForgotten)
			s.wantErrand(s.want(s.claim("C", bareProbe), InDoubt, ReasonLapsed), "")
		}},
		{"an errand goes when an event shows that another command had the operation", func(s *scene) {
			s.release(s.claim("A", errand("of A")), Release{Yield: true})
			s.restore("B", Restoration{State: StateParked, MoneyUnknown: true})
			s.wantErrand(s.want(s.claim("C", bareProbe), InDoubt, ReasonParkedUnknown), "")
		}},
		{"an errand is not kept longer than its operation is open", func(s *scene) {
			_, key := entityKey(s.entity)
			for _, state := range []State{StateDone, StateRefused, StateParked} {
				op := "refund:1:" + state.String()
				s.settle(s.claim("A", operation(op), errand("of A")), Settlement{State: state})
				if record := s.redis.HGet(s.ctx, key, "op:"+op).Val(); strings.Contains(record, "of A") {
					s.Errorf("%v: the record has it still: %s", state, record)
				}
			}
		}},
	})
}

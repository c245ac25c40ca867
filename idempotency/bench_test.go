package idempotency

import (
	"strconv"
	"testing"
)

func BenchmarkClaimAndSettle(b *testing.B) {
	for _, st := range stores {
		b.Run(st.name, func(b *testing.B) {
			s := newScene(b, st, false)
			b.ReportAllocs()
			event := Settlement{State: StateDone, Outcome: make([]byte, 2048), Effect: "9001"}
			for i := range event.Outcome {
				event.Outcome[i] = 'x'
			}
			for i := 0; b.Loop(); i++ {
				request := s.request("A")
				request.Entity.ID += strconv.Itoa(i)
				c, err := s.guard.Claim(b.Context(), request)
				if err != nil {
					b.Fatal(err)
				}
				s.want(c, Fresh, ReasonNew)
				s.settle(c, event)
			}
		})
	}
}

// BenchmarkRefundOfAnEntityWithManyRefunds shows what a long history costs: a claim reads the effects of all of it.
func BenchmarkRefundOfAnEntityWithManyRefunds(b *testing.B) {
	s := newScene(b, stores[0], false)
	b.ReportAllocs()
	for i := range 200 {
		key := "refund:1:" + strconv.Itoa(i)
		s.settle(s.claim(key, operation(key)), Settlement{State: StateDone, Effect: strconv.Itoa(2021121600000000000 + i)})
	}
	for b.Loop() {
		s.release(s.claim("A"), Release{})
	}
}

func BenchmarkDuplicate(b *testing.B) {
	s := newScene(b, stores[0], false)
	b.ReportAllocs()
	s.done(s.claim("A"))
	for b.Loop() {
		s.want(s.claim("B"), Duplicate, ReasonSettled)
	}
}

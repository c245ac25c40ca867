package simulator_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// serve puts the simulator on a real connection, where it can be dropped, and gives a sender for it.
func (m *merchant) serve() func(*http.Request) (*http.Response, error) {
	m.t.Helper()
	server := httptest.NewServer(m.sim)
	m.t.Cleanup(server.Close)
	client := server.Client()
	return func(r *http.Request) (*http.Response, error) {
		out, err := http.NewRequestWithContext(r.Context(), r.Method, server.URL+r.URL.RequestURI(), r.Body)
		if err != nil {
			return nil, err
		}
		out.Header = r.Header
		return client.Do(out)
	}
}

func TestFaultsStrikeBeforeOrAfterTheOperation(t *testing.T) {
	t.Parallel()
	for kind, want := range map[simulator.FaultKind]struct {
		status int
		body   string
		code   string // in the ledger
		err    bool
	}{
		simulator.KindDrop:    {err: true},
		simulator.KindCode:    {status: 200, body: `{"returnCode":"1900","returnMessage":"Temporary error. Please try again later."}`, code: "1900"},
		simulator.KindHTTP500: {status: 500, body: "Internal Server Error\n"},
		simulator.KindGarbage: {status: 200, body: `{"returnCode":"00`},
		simulator.KindHTML:    {status: 200, body: "<!doctype html><title>Maintenance</title><h1>Service under maintenance</h1>\n"},
	} {
		for _, when := range []simulator.Moment{simulator.Before, simulator.After} {
			t.Run(string(kind)+" "+string(when), func(t *testing.T) {
				t.Parallel()
				m := open(t, simulator.Rules{})
				send := m.serve()
				id := m.paid("o1", "100", "")
				fault := simulator.Fault{Operation: linepay.Refund, Kind: kind, When: when}
				if kind == simulator.KindCode {
					fault.Code = "1900"
				}
				m.fault(fault)
				response, err := send(m.build("POST", "payments/"+id.String()+"/refund", `{"refundAmount":30}`))
				if want.err {
					if !errors.Is(err, io.EOF) {
						t.Fatalf("error %v, want a connection closed without an answer", err)
					}
				} else {
					if err != nil {
						t.Fatal(err)
					}
					if got := decode(t, response); got.Status != want.status || got.Raw != want.body {
						t.Errorf("HTTP %d %q", got.Status, got.Raw)
					}
				}
				if got := m.lastCall(); got.ReturnCode != want.code || got.Operation != linepay.Refund || got.TransactionID != id {
					t.Errorf("ledger: %+v", got)
				}
				if when == simulator.Before {
					m.wantEffects(id, "confirm 100")
				} else {
					m.wantEffects(id, "confirm 100", "refund 30")
				}
				m.want("0000", m.refund(id, `{"refundAmount":30}`)) // it struck once
			})
		}
	}
}

func TestADelayDuringCarriesOutLateAndADelayAfterAnswersLate(t *testing.T) {
	t.Parallel()
	for _, when := range []simulator.Moment{simulator.During, simulator.After} {
		synctest.Test(t, func(t *testing.T) {
			m := openWith(t, simulator.Config{Now: time.Now})
			id := m.paid("o1", "100", "")
			m.fault(simulator.Fault{Operation: linepay.Refund, Kind: simulator.KindDelay, Delay: 30 * time.Second, When: when})
			start := time.Now()
			answered := make(chan reply)
			go func() { answered <- m.refund(id, `{"refundAmount":30}`) }()
			synctest.Wait()
			if carriedOut := len(m.transaction(id).Effects) == 2; carriedOut != (when == simulator.After) {
				t.Errorf("%s: carried out at once: %v", when, carriedOut)
			}
			if code := m.lastCall().ReturnCode; code != "" {
				t.Errorf("%s: answered %q already", when, code)
			}
			m.want("0000", <-answered)
			if took := time.Since(start); took != 30*time.Second {
				t.Errorf("%s: answered after %v", when, took)
			}
			m.wantEffects(id, "confirm 100", "refund 30")
		})
	}
}

func TestTheSameCallIsADuplicateWhileOneIsRunning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := open(t, simulator.Rules{})
		id, other := m.paid("o1", "100", holds), m.paid("o2", "100", holds)
		m.fault(simulator.Fault{Operation: linepay.Capture, Kind: simulator.KindDelay, Delay: time.Minute})
		captured, voided := make(chan reply), make(chan reply)
		go func() { captured <- m.capture(id, "100") }()
		synctest.Wait()
		m.want("1198", m.capture(id, "100"))
		m.want("0000", m.capture(other, "100")) // another payment's
		go func() { voided <- m.void(id) }()    // another operation waits for its turn
		synctest.Wait()
		select {
		case got := <-voided:
			t.Fatalf("void overtook the capture: %s", got.Raw)
		default:
		}
		m.want("0000", <-captured)
		m.want("1155", <-voided)
		m.want("1179", m.capture(id, "100")) // no longer running
		m.wantEffects(id, "confirm 100", "capture 100")
	})
}

func TestAKeyIsBusyWhileItPays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := open(t, simulator.Rules{})
		key := m.key("o1")
		base := "payments/preapprovedPay/" + key
		m.fault(simulator.Fault{Operation: linepay.PreapprovedPay, Kind: simulator.KindDelay, Delay: time.Minute})
		paid, expired := make(chan reply), make(chan reply)
		go func() { paid <- m.post(base+"/payment", keyPayment("o2", "5")) }()
		synctest.Wait()
		m.want("1197", m.post(base+"/payment", keyPayment("o3", "5")))
		m.want("0000", m.get(base+"/check"))
		go func() { expired <- m.post(base+"/expire", "") }()
		m.want("0000", <-paid)
		m.want("0000", <-expired)
	})
}

func TestADelayBeforeCarriesNothingOutAndAnswersNothing(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	send := m.serve()
	id := m.paid("o1", "100", "")
	m.fault(simulator.Fault{Operation: linepay.Refund, Kind: simulator.KindDelay, Delay: time.Millisecond, When: simulator.Before})
	if _, err := send(m.build("POST", "payments/"+id.String()+"/refund", "")); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want a connection closed without an answer", err)
	}
	m.wantEffects(id, "confirm 100")
	if code := m.lastCall().ReturnCode; code != "" {
		t.Errorf("answered %q", code)
	}
}

func TestADelayedCallIsCarriedOutThoughItsCallerHasGone(t *testing.T) {
	t.Parallel()
	for _, when := range []simulator.Moment{simulator.During, simulator.After} {
		synctest.Test(t, func(t *testing.T) {
			m := open(t, simulator.Rules{})
			id := m.paid("o1", "100", "")
			m.fault(simulator.Fault{Kind: simulator.KindDelay, Delay: time.Minute, When: when})
			ctx, hangUp := contextWithCancel(t)
			over := make(chan struct{})
			go func() {
				defer close(over)
				m.send(m.build("POST", "payments/"+id.String()+"/refund", "").WithContext(ctx))
			}()
			synctest.Wait()
			hangUp()
			<-over
			m.wantEffects(id, "confirm 100", "refund 100")
			if code := m.lastCall().ReturnCode; code != "" {
				t.Errorf("%s: nobody was there to be answered %q", when, code)
			}
		})
	}
}

func TestCloseEndsDelaysAndCarriesNothingMoreOut(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	send := m.serve()
	id := m.paid("o1", "100", "")
	m.fault(simulator.Fault{Kind: simulator.KindDelay, Delay: 10 * time.Minute})
	failed := make(chan error)
	r := m.build("POST", "payments/"+id.String()+"/refund", "")
	go func() {
		response, err := send(r)
		if err == nil {
			_ = response.Body.Close()
		}
		failed <- err
	}()
	for len(m.sim.Ledger().Calls) < 3 { // request, confirm, and the refund on its way
		m.sim.Time()
	}
	m.sim.Close()
	if err := <-failed; err == nil {
		t.Error("a call that was never carried out was answered")
	}
	m.wantEffects(id, "confirm 100")
}

func TestASlowBodyArrivesInPieces(t *testing.T) {
	t.Parallel()
	for _, when := range []simulator.Moment{simulator.Before, simulator.After} {
		synctest.Test(t, func(t *testing.T) {
			m := open(t, simulator.Rules{})
			id := m.paid("o1", "100", "")
			m.fault(simulator.Fault{Operation: linepay.Refund, Kind: simulator.KindSlowBody, Delay: 9 * time.Second, When: when})
			start := time.Now()
			w := &pieces{header: http.Header{}}
			m.sim.ServeHTTP(w, m.build("POST", "payments/"+id.String()+"/refund", ""))
			if took := time.Since(start); took != 9*time.Second || w.writes != 10 || w.flushes != 10 {
				t.Errorf("%s: %v, %d writes, %d flushes", when, took, w.writes, w.flushes)
			}
			want, effects := `{"returnCode":"9000"`, []string{"confirm 100"}
			if when == simulator.After {
				want, effects = `{"returnCode":"0000"`, append(effects, "refund 100")
			}
			if !strings.HasPrefix(w.text.String(), want) || !strings.HasSuffix(w.text.String(), "}") {
				t.Errorf("%s: %s", when, w.text.String())
			}
			m.wantEffects(id, effects...)
		})
	}
}

// pieces counts how an answer arrives.
type pieces struct {
	header          http.Header
	text            strings.Builder
	writes, flushes int
}

func (p *pieces) Header() http.Header { return p.header }
func (p *pieces) WriteHeader(int)     {}
func (p *pieces) Flush()              { p.flushes++ }
func (p *pieces) Write(b []byte) (int, error) {
	p.writes++
	return p.text.Write(b)
}

func TestFaultsAreCountedAndTakenInOrder(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.reserve("o1", "100", "")
	m.fault(simulator.Fault{Operation: linepay.Refund, Kind: simulator.KindCode, Code: "1199"})
	m.fault(simulator.Fault{Operation: linepay.Check, Kind: simulator.KindCode, Code: "1101", Count: 2})
	m.fault(simulator.Fault{Operation: "*", Kind: simulator.KindCode, Code: "1102", Count: -1})
	forged := m.build("GET", "payments/requests/"+id.String()+"/check", "")
	forged.Header.Set("X-LINE-Authorization", "forged")
	m.want("1106", m.send(forged)) // uses nothing up
	for _, want := range []string{"1101", "1101", "1102", "1102"} {
		m.want(want, m.check(id))
	}
	if left := m.sim.Faults(); len(left) != 2 || left[0].Count != 1 || left[0].Operation != linepay.Refund || left[1].Count != -1 {
		t.Errorf("faults %+v", left)
	}
	m.sim.ClearFaults()
	m.want("0000", m.check(id))
}

func TestAFaultOfOnePaymentLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id, other := m.paid("o1", "100", ""), m.paid("o2", "100", "")
	m.fault(simulator.Fault{Operation: linepay.Refund, TransactionID: id, Kind: simulator.KindCode, Code: "1199"})
	m.want("0000", m.refund(other, `{"refundAmount":30}`))
	m.want("0123", m.check(id))
	m.want("1199", m.refund(id, `{"refundAmount":30}`))
	m.want("0000", m.refund(id, `{"refundAmount":30}`))

	m.fault(simulator.Fault{TransactionID: id, Kind: simulator.KindCode, Code: "1199", Count: -1}) // whatever is done to it
	m.want("1199", m.check(id))
	m.want("1199", m.refund(id, ""))
	m.want("0123", m.check(other))
	m.want("0000", m.get("payments?transactionId="+id.String())) // asks for several, and has no id in its path
	got := m.control(200, "GET", "faults", "")
	if !strings.Contains(got, `"transactionId":"`+id.String()+`"`) {
		t.Errorf("the fault does not name its payment: %s", got)
	}
}

func TestProbabilityIsLuckThatTheSeedRepeats(t *testing.T) {
	t.Parallel()
	var runs []string
	for range 2 {
		m := openWith(t, simulator.Config{Seed: 7})
		id := m.reserve("o1", "100", "")
		m.fault(simulator.Fault{Kind: simulator.KindCode, Code: "9000", Count: -1, Probability: 0.5})
		var run strings.Builder
		for range 100 {
			run.WriteString(m.check(id).Code[:1])
		}
		runs = append(runs, run.String())
	}
	if runs[0] != runs[1] {
		t.Errorf("one seed, two runs:\n%s\n%s", runs[0], runs[1])
	}
	if struck := strings.Count(runs[0], "9"); struck < 30 || struck > 70 {
		t.Errorf("%d of 100 calls struck at probability 0.5", struck)
	}
}

func TestFaultsThatCouldNotStrikeAreRefused(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	for says, f := range map[string]simulator.Fault{
		"operation":   {Operation: "pay", Kind: simulator.KindDrop},
		"kind":        {Kind: "explode"},
		"count":       {Kind: simulator.KindDrop, Count: -2},
		"probability": {Kind: simulator.KindDrop, Probability: 1.1},
		"delayMs":     {Kind: simulator.KindDelay, Delay: 11 * time.Minute},
		"code":        {Kind: simulator.KindCode},
		"when":        {Kind: simulator.KindDrop, When: "during"},

		"transactionId": {Operation: linepay.Details, TransactionID: 7, Kind: simulator.KindDrop},
	} {
		if err := m.sim.AddFault(f); err == nil || !strings.HasPrefix(err.Error(), "fault: "+says+" must be") {
			t.Errorf("%s: %v", says, err)
		}
	}
	if len(m.sim.Faults()) != 0 {
		t.Error("a refused fault was kept")
	}
}

func TestConcurrentCallsRefundNoMoreThanThereIs(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.paid("o1", "100", "")
	var all sync.WaitGroup
	for range 40 {
		r := m.build("POST", "payments/"+id.String()+"/refund", `{"refundAmount":7}`)
		all.Go(func() {
			m.sim.ServeHTTP(httptest.NewRecorder(), r)
			m.sim.Ledger()
		})
	}
	all.Wait()
	tx := m.transaction(id)
	if refunds := len(tx.Effects) - 1; refunds > 14 || tx.Refunded.String() != linepay.MustAmount("7").Mul(decimalOf(refunds)).String() {
		t.Errorf("%d refunds, %s refunded", refunds, tx.Refunded)
	}
}

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// linePay is the simulator behind an address, with a person in LINE Pay's merchant centre who gives the same amount back in the same
// moment.
type linePay struct {
	sim    *simulator.Simulator
	server *httptest.Server
	link   *link // of all workers: the guard tells merchants apart by LINE Pay's address, so that it must be the same for all
	struck tally // faults that met a call, by kind

	mu     sync.Mutex
	down   string                           // what all calls get at present instead of an answer, "" while LINE Pay works
	twins  map[linepay.TransactionID]string // refunds to be repeated by hand: amount by payment
	byHand map[linepay.TransactionID]bool   // refunds made by hand
	since  time.Time                        // what LINE Pay dates before this is older by so much than it says
	older  time.Duration
}

func startLINEPay(t *testing.T, seed uint64) *linePay {
	t.Helper()
	p := &linePay{twins: map[linepay.TransactionID]string{}, byHand: map[linepay.TransactionID]bool{}}
	p.sim = simulator.New(simulator.Config{Seed: seed, OnCall: func(r simulator.Report) {
		if r.Fault != "" {
			p.struck.add(string(r.Fault))
		}
	}})
	p.server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.sim.Close() // calls that a fault delays end first, so that the server does not wait for them
		p.server.CloseClientConnections()
		p.server.Close()
	})
	p.link = newLink(t, "worker-linepay", p.server.Listener.Addr().String())
	return p
}

// ServeHTTP passes calls on. A refund that has a twin is carried out, then another one of the same amount is made by hand, and the answer
// is lost: from outside nobody can tell which of the two is whose.
func (p *linePay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.refuses(w) {
		return
	}
	if r.Method == http.MethodGet && p.hasAged() {
		p.servePast(w, r)
		return
	}
	id, amount := p.twinOf(r)
	if amount == "" {
		p.sim.ServeHTTP(w, r)
		return
	}
	before := p.refunds(id)
	kept := httptest.NewRecorder()
	if dropped := p.serveQuietly(kept, r); p.refunds(id) == before {
		p.mu.Lock()
		p.twins[id] = amount // next time
		p.mu.Unlock()
		if dropped {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", kept.Header().Get("Content-Type"))
		w.WriteHeader(kept.Code)
		_, _ = w.Write(kept.Body.Bytes())
		return
	}
	if refund, err := p.sim.RefundByHand(id, linepay.MustAmount(amount)); err == nil {
		p.mu.Lock()
		p.byHand[refund] = true
		p.mu.Unlock()
	}
	panic(http.ErrAbortHandler)
}

// What becomes of all calls while LINE Pay is down.
const (
	unavailable = "http500"
	unreachable = "drop"
	noChannel   = "code"
)

// goDown has LINE Pay carry out nothing until it comes up again.
func (p *linePay) goDown(how string) (up func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = how
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.down = ""
	}
}

func (p *linePay) refuses(w http.ResponseWriter) bool {
	p.mu.Lock()
	down := p.down
	p.mu.Unlock()
	if down == "" {
		return false
	}
	p.struck.add(down)
	switch down {
	case unavailable:
		http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
	case noChannel:
		_, _ = io.WriteString(w, `{"returnCode":"1106","returnMessage":"Header information error."}`)
	default:
		panic(http.ErrAbortHandler)
	}
	return true
}

// serveQuietly reports whether a fault has dropped the connection.
func (p *linePay) serveQuietly(w http.ResponseWriter, r *http.Request) (dropped bool) {
	defer func() { dropped = recover() != nil }()
	p.sim.ServeHTTP(w, r)
	return
}

// twinOf says whether a call is a refund that is to have a twin, and takes the wish.
func (p *linePay) twinOf(r *http.Request) (id linepay.TransactionID, amount string) {
	path, isRefund := strings.CutSuffix(r.URL.Path, "/refund")
	if !isRefund || !strings.Contains(path, "/payments/") {
		return 0, ""
	}
	id, err := linepay.ParseTransactionID(path[strings.LastIndexByte(path, '/')+1:])
	if err != nil {
		return 0, ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if amount = p.twins[id]; amount == "" {
		return 0, ""
	}
	body := new(bytes.Buffer)
	_, err = body.ReadFrom(r.Body)
	r.Body = http.NoBody
	if err == nil {
		r.Body = &again{Reader: bytes.NewReader(body.Bytes())}
	}
	var asked struct {
		RefundAmount json.Number `json:"refundAmount"`
	}
	if json.Unmarshal(body.Bytes(), &asked) != nil || asked.RefundAmount.String() != amount {
		return 0, ""
	}
	delete(p.twins, id)
	return id, amount
}

// again is a body that is read a second time.
type again struct{ *bytes.Reader }

// Close does nothing: the first reading has closed it.
func (*again) Close() error { return nil }

// addTwin has the refund of this amount repeated by hand.
func (p *linePay) addTwin(id linepay.TransactionID, amount string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.twins[id] = amount
}

func (p *linePay) madeByHand(refund linepay.TransactionID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byHand[refund]
}

func (p *linePay) refunds(id linepay.TransactionID) (n int) {
	for _, transaction := range p.sim.Ledger().Transactions {
		if transaction.TransactionID != id {
			continue
		}
		for _, e := range transaction.Effects {
			if e.Operation == linepay.Refund {
				n++
			}
		}
	}
	return n
}

// age makes all that has been carried out so far older. It waits for a whole second, since LINE Pay's dates have no parts of one.
func (p *linePay) age(ctx context.Context, by time.Duration) {
	next := time.Now().Truncate(time.Second).Add(time.Second)
	pause(ctx, time.Until(next))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.older = next, by
}

func (p *linePay) hasAged() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.older > 0
}

var dates = regexp.MustCompile(`"(transactionDate|refundTransactionDate)":"([^"]+)"`)

// servePast answers a reading with the dates as they are now that it has aged.
func (p *linePay) servePast(w http.ResponseWriter, r *http.Request) {
	kept := httptest.NewRecorder()
	if p.serveQuietly(kept, r) {
		panic(http.ErrAbortHandler)
	}
	p.mu.Lock()
	since, older := p.since, p.older
	p.mu.Unlock()
	body := dates.ReplaceAllFunc(kept.Body.Bytes(), func(found []byte) []byte {
		part := dates.FindSubmatch(found)
		at, err := time.Parse(time.RFC3339, string(part[2]))
		if err != nil || !at.Before(since) {
			return found
		}
		return fmt.Appendf(nil, `"%s":"%s"`, part[1], at.Add(-older).UTC().Format(time.RFC3339))
	})
	w.Header().Set("Content-Type", kept.Header().Get("Content-Type"))
	w.WriteHeader(kept.Code)
	_, _ = w.Write(body)
}

// misbehave adds the faults of a bad day: each call has a small chance to meet one of them.
func (p *linePay) misbehave(t *testing.T, times times) {
	t.Helper()
	lost := times.lost()
	add := func(probability float64, kind simulator.FaultKind, when simulator.Moment, delay time.Duration, code string,
		operations ...linepay.Operation,
	) {
		for _, op := range operations {
			fault := simulator.Fault{Operation: op, Kind: kind, Count: -1, Probability: probability, Delay: delay, Code: code, When: when}
			if err := p.sim.AddFault(fault); err != nil {
				t.Fatal(err)
			}
		}
	}
	money := []linepay.Operation{
		linepay.Confirm, linepay.Capture, linepay.Void, linepay.Refund, linepay.PreapprovedPay, linepay.PreapprovedExpire, linepay.Request,
	}
	reading := []linepay.Operation{linepay.Details, linepay.Check, linepay.PreapprovedCheck}
	for _, when := range []simulator.Moment{simulator.Before, simulator.During, simulator.After} {
		add(0.005, simulator.KindDelay, when, lost, "", money...)
		add(0.01, simulator.KindDelay, when, times.read/3, "", money...)
	}
	for _, when := range []simulator.Moment{simulator.Before, simulator.After} {
		add(0.015, simulator.KindDrop, when, 0, "", money...)
		add(0.005, simulator.KindSlowBody, when, lost, "", money...)
		add(0.005, simulator.KindSlowBody, when, times.read/2, "", money...)
		add(0.007, simulator.KindHTTP500, when, 0, "", money...)
		add(0.005, simulator.KindGarbage, when, 0, "", money...)
		add(0.003, simulator.KindHTML, when, 0, "", money...)
		for _, code := range []string{"1198", "1172", "9000", "1902", "1999"} {
			add(0.004, simulator.KindCode, when, 0, code, money...)
		}
	}
	add(0.004, simulator.KindCode, simulator.Before, 0, "1142", linepay.Confirm, linepay.PreapprovedPay) // a true refusal
	add(0.01, simulator.KindDrop, simulator.After, 0, "", reading...)
	add(0.005, simulator.KindDelay, simulator.After, lost, "", reading...)
	add(0.01, simulator.KindSlowBody, simulator.After, times.read/2, "", reading...)
	add(0.01, simulator.KindHTTP500, simulator.Before, 0, "", reading...)
	add(0.005, simulator.KindGarbage, simulator.After, 0, "", reading...)
	add(0.005, simulator.KindCode, simulator.Before, 0, "9000", reading...)
}

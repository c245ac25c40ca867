package consumer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// The model's LINE Pay is the simulator, which knows the rules and keeps the ledger. Between it and a worker lies a network: a call may not
// be sent, or be lost, be carried out late (but before anybody may believe that it was not), or be answered late, wrongly or not at all.

type modelPay struct {
	w       *modelWorld
	sim     *simulator.Simulator
	running map[string]bool // calls on their way, as LINE Pay tells a second one of a kind
}

// exchange is one call on the network.
type exchange struct {
	s        *modelStep
	request  *http.Request
	body     []byte
	op       linepay.Operation
	response *http.Response
}

var (
	errDial  = errors.New("connection refused")
	errReset = errors.New("connection reset")
)

// modelTransport is a process' network to LINE Pay.
type modelTransport struct{ p *modelProcess }

// RoundTrip sends a call.
func (t modelTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	x := &exchange{request: request}
	if request.Body != nil {
		x.body, _ = io.ReadAll(request.Body)
	}
	x.op = operationOf(request.URL.Path)
	trace := httptrace.ContextClientTrace(request.Context())
	trace.GetConn(request.URL.Host)
	what := fmt.Sprintf("%s %s?%s %s", request.Method, request.URL.Path, request.URL.RawQuery, x.body)
	err := t.p.contact(request.Context(), what, func(s *modelStep) {
		x.s = s
		t.p.w.pay.receive(x, trace)
	})
	if err != nil {
		return nil, err
	}
	return x.response, nil
}

func operationOf(path string) linepay.Operation {
	for suffix, op := range map[string]linepay.Operation{
		"/payments/request": linepay.Request, "/confirm": linepay.Confirm, "/capture": linepay.Capture, "/void": linepay.Void,
		"/refund": linepay.Refund, "/payments": linepay.Details, "/payment": linepay.PreapprovedPay, "/expire": linepay.PreapprovedExpire,
	} {
		if strings.HasSuffix(path, suffix) {
			return op
		}
	}
	if strings.Contains(path, "/preapprovedPay/") {
		return linepay.PreapprovedCheck
	}
	return linepay.Check
}

// receive decides what becomes of a call, and when.
func (l *modelPay) receive(x *exchange, trace *httptrace.ClientTrace) {
	w := l.w
	if w.away(w.plan.payAway) || w.strike(w.plan.faults.unsent, 1) > 0 {
		x.s.answer(w.some(5*time.Second), errDial)
		return
	}
	trace.GotConn(httptrace.GotConnInfo{})
	w.tell("process %d calls: %s", x.s.p.number, x.s.what)
	arrives, back := 10*time.Millisecond+w.some(time.Second), 5*time.Millisecond+w.some(100*time.Millisecond)
	if w.strike(w.plan.faults.late, 1) > 0 {
		arrives = w.some(x.op.ReadTimeout() + w.plan.lateness)
	}
	switch fault := w.strike(w.plan.faults.linepay, 5); fault {
	case 1: // it never arrives
		x.s.answer(w.some(2*x.op.ReadTimeout()), errReset)
	case 2: // it is refused at the door, or struck before it is carried out
		w.at(arrives, nil, func() { l.strike(x, back, w.plan.code(w.dice, x.op, false)) })
	case 3: // its answer is lost, or late
		l.carryOut(x, arrives, func(*http.Response) { x.s.answer(w.some(2*x.op.ReadTimeout()), errReset) })
	case 4: // its answer is spoilt
		l.carryOut(x, arrives, func(*http.Response) { l.spoil(x, back) })
	case 5: // it is carried out, and LINE Pay answers something else
		l.carryOut(x, arrives, func(*http.Response) { l.strike(x, back, w.plan.code(w.dice, x.op, true)) })
	default:
		l.carryOut(x, arrives, func(r *http.Response) {
			x.response = r
			x.s.answer(back, nil)
		})
	}
}

// carryOut has LINE Pay work for a while. Meanwhile it answers a second call of a kind as it does.
func (l *modelPay) carryOut(x *exchange, after time.Duration, then func(*http.Response)) {
	key := ""
	switch x.op {
	case linepay.Confirm, linepay.Capture, linepay.Void, linepay.Refund, linepay.PreapprovedPay:
		key = x.request.URL.Path
	}
	if l.running[key] {
		code := "1198"
		if x.op == linepay.PreapprovedPay {
			code = "1197"
		}
		l.w.at(50*time.Millisecond, nil, func() { l.strike(x, 50*time.Millisecond, code) })
		return
	}
	if key != "" {
		l.running[key] = true
	}
	l.w.at(after, nil, func() {
		delete(l.running, key)
		then(l.serve(x))
	})
}

// serve lets the simulator carry the call out.
func (l *modelPay) serve(x *exchange) *http.Response {
	recorder := serve(l.sim, x.request, x.body)
	l.w.tell("LINE Pay: %s → %.60s", x.s.what, recorder.Body.String())
	return recorder.Result()
}

// serve hands a client's request to the simulator, as a server would read it.
func serve(sim *simulator.Simulator, sent *http.Request, body []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequest(sent.Method, sent.URL.String(), bytes.NewReader(body))
	for name, values := range sent.Header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	recorder := httptest.NewRecorder()
	sim.ServeHTTP(recorder, request)
	return recorder
}

// strike answers a code, or something that is no answer where there is none.
func (l *modelPay) strike(x *exchange, after time.Duration, code string) {
	if code == "" {
		l.spoil(x, after)
		return
	}
	l.w.tell("LINE Pay answers %s to %s", code, x.s.what)
	x.respond(http.StatusOK, `{"returnCode":"`+code+`","returnMessage":"-"}`)
	x.s.answer(after, nil)
}

func (l *modelPay) spoil(x *exchange, after time.Duration) {
	l.w.tell("the answer is spoilt: %s", x.s.what)
	switch l.w.dice.IntN(3) {
	case 0:
		x.respond(http.StatusInternalServerError, "Internal Server Error")
	case 1:
		x.respond(http.StatusOK, `{"returnCode":"00`)
	default:
		x.respond(http.StatusOK, "<!doctype html><title>Maintenance</title>")
	}
	x.s.answer(after, nil)
}

func (x *exchange) respond(status int, body string) {
	x.response = &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: x.request}
}

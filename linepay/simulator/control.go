package simulator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"linepay-worker/linepay"
)

// routes are all addresses but LINE Pay's API: the control side, and the customer's pages.
func (s *Simulator) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_simulator/ledger", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, s.LedgerOf(r.URL.Query()["orderId"]...))
	})
	mux.HandleFunc("POST /_simulator/payments/{id}/authenticate", s.byCustomer(s.Authenticate))
	mux.HandleFunc("POST /_simulator/payments/{id}/cancel", s.byCustomer(s.Cancel))
	mux.HandleFunc("POST /_simulator/payments/{id}/refund", s.postRefund)
	mux.HandleFunc("GET /_simulator/faults", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string][]Fault{"faults": s.Faults()})
	})
	mux.HandleFunc("POST /_simulator/faults", s.postFault)
	mux.HandleFunc("DELETE /_simulator/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_simulator/clock", func(w http.ResponseWriter, _ *http.Request) { s.replyClock(w) })
	mux.HandleFunc("POST /_simulator/clock", s.postClock)
	mux.HandleFunc("GET /_simulator/rules", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.Rules()) })
	mux.HandleFunc("POST /_simulator/rules", s.postRules)
	mux.HandleFunc("GET "+pagePath, s.getPage)
	mux.HandleFunc("POST "+payPath, s.postPay)
	mux.HandleFunc("POST "+cancelPath, s.postCancel)
	return mux
}

// byCustomer serves what the customer can do, for the payment named in the path, and answers the payment as the ledger has it.
func (s *Simulator) byCustomer(act func(linepay.TransactionID) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := linepay.ParseTransactionID(r.PathValue("id"))
		if err != nil {
			complain(w, http.StatusBadRequest, err)
			return
		}
		if err := act(id); err != nil {
			complain(w, statusOf(err), err)
			return
		}
		s.replyPayment(w, id)
	}
}

func (s *Simulator) replyPayment(w http.ResponseWriter, id linepay.TransactionID) {
	s.mu.Lock()
	transaction := s.aged(s.payments[id]).transaction()
	s.mu.Unlock()
	reply(w, http.StatusOK, transaction)
}

func (s *Simulator) postRefund(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Amount linepay.Amount `json:"amount"`
	}
	id, err := linepay.ParseTransactionID(r.PathValue("id"))
	if err == nil {
		err = read(r, &body)
	}
	if err != nil {
		complain(w, http.StatusBadRequest, err)
		return
	}
	refund, err := s.RefundByHand(id, body.Amount)
	if err != nil {
		complain(w, statusOf(err), err)
		return
	}
	reply(w, http.StatusOK, map[string]linepay.TransactionID{"refundTransactionId": refund})
}

func (s *Simulator) postFault(w http.ResponseWriter, r *http.Request) {
	var fault Fault
	err := read(r, &fault)
	if err == nil {
		err = s.AddFault(fault)
	}
	if err != nil {
		complain(w, http.StatusBadRequest, err)
		return
	}
	fault, _ = fault.checked() // AddFault has found no fault with it
	reply(w, http.StatusCreated, fault)
}

func (s *Simulator) postClock(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Advance time.Duration `json:"advanceMs"`
	}
	err := read(r, &body)
	if err == nil {
		err = s.Advance(body.Advance)
	}
	if err != nil {
		complain(w, http.StatusBadRequest, err)
		return
	}
	s.replyClock(w)
}

func (s *Simulator) replyClock(w http.ResponseWriter) {
	reply(w, http.StatusOK, map[string]time.Time{"now": s.Time()})
}

// postRules changes the rules that the body names and keeps the others. Null, "" and 0 bring a default back.
func (s *Simulator) postRules(w http.ResponseWriter, r *http.Request) {
	rules := s.Rules()
	err := read(r, &rules)
	if err == nil {
		err = s.SetRules(rules)
	}
	if err != nil {
		complain(w, http.StatusBadRequest, err)
		return
	}
	reply(w, http.StatusOK, s.Rules())
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrNoPayment):
		return http.StatusNotFound
	case errors.Is(err, ErrState):
		return http.StatusConflict
	default:
		return http.StatusBadRequest
	}
}

// A duration is a whole number of milliseconds on the control side.
var (
	writeMillis = json.WithMarshalers(json.MarshalFunc(func(d time.Duration) ([]byte, error) {
		return strconv.AppendInt(nil, d.Milliseconds(), 10), nil
	}))
	readMillis = json.WithUnmarshalers(json.UnmarshalFunc(func(b []byte, d *time.Duration) error {
		if string(b) == "null" {
			*d = 0
			return nil
		}
		ms, err := strconv.ParseInt(string(b), 10, 64)
		if most := int64(1<<63-1) / int64(time.Millisecond); err != nil || ms > most || ms < -most {
			return errMillis
		}
		*d = time.Duration(ms) * time.Millisecond
		return nil
	}))
)

var errMillis = errors.New("a time is a whole number of milliseconds")

// read takes a control call's body. A member that does not exist is refused: a misspelt fault would look as if it never struck.
func read(r *http.Request, into any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return errors.New("the body must be a JSON object, and is empty")
	}
	return inWords(json.Unmarshal(body, into, readMillis, json.RejectUnknownMembers(true)))
}

// inWords says what is wrong with a body without the words of a library.
func inWords(err error) error {
	var syntax *jsontext.SyntacticError
	var meaning *json.SemanticError
	switch {
	case errors.As(err, &syntax) && errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the body is not JSON in good order: it breaks off after byte %d", syntax.ByteOffset)
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Errorf("the body has %s twice", syntax.JSONPointer)
	case errors.As(err, &syntax):
		return fmt.Errorf("the body is not JSON in good order: the mistake is at byte %d", syntax.ByteOffset+1)
	case !errors.As(err, &meaning):
		return err
	case errors.Is(err, json.ErrUnknownName):
		return fmt.Errorf("%s is unknown here", meaning.JSONPointer)
	case meaning.JSONPointer == "":
		return errors.New("the body must be a JSON object")
	case errors.Is(err, errMillis):
		return fmt.Errorf("%s: %w", meaning.JSONPointer, errMillis)
	default:
		return fmt.Errorf("%s has a value of the wrong kind or form", meaning.JSONPointer)
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body, writeMillis, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		complain(w, http.StatusInternalServerError, err)
		return
	}
	writeBody(w, status, "application/json", append(b, '\n'))
}

func complain(w http.ResponseWriter, status int, err error) {
	b, _ := json.Marshal(map[string]string{"error": err.Error()}, jsontext.AllowInvalidUTF8(true)) // a string always marshals
	writeBody(w, status, "application/json", append(b, '\n'))
}

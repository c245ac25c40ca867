package linepay

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// reply is LINE Pay's answer, its info still unread.
type reply struct {
	Answer
	info jsontext.Value
	// otherShape: the answer came as resultCode and statusMessage, the shape that LINE Pay's overview page shows for errors.
	otherShape bool
}

// readReply reads the envelope of an answer in either of its two shapes.
func readReply(body []byte) (*reply, error) {
	var envelope struct {
		ReturnCode    string         `json:"returnCode"`
		ReturnMessage string         `json:"returnMessage"`
		ResultCode    string         `json:"resultCode"`
		StatusMessage string         `json:"statusMessage"`
		Info          jsontext.Value `json:"info"`
	}
	if err := json.Unmarshal(body, &envelope, tolerant); err != nil {
		return nil, unreadable("the answer", err)
	}
	r := &reply{Answer: Answer{Code: envelope.ReturnCode, Message: clipTo(envelope.ReturnMessage, maxMessage)}, info: envelope.Info}
	switch {
	case r.Code != "" && envelope.ResultCode != "" && r.Code != envelope.ResultCode:
		return nil, errors.New("the answer has a returnCode and a resultCode that differ")
	case r.Code == "" && envelope.ResultCode == "":
		return nil, errors.New("the answer has no returnCode")
	case r.Code == "":
		r.Code, r.Message, r.otherShape = envelope.ResultCode, clipTo(envelope.StatusMessage, maxMessage), true
	}
	return r, nil
}

// maxMessage is the most that is kept of LINE Pay's message, in bytes.
const maxMessage = 300

// readInfo reads what an answer holds beside its code. A success that says nothing readable is no success to rely on: without the id of a
// refund, or without knowing whether a payment was captured or only authorised, there is no event to tell. The look-up will say.
func readInfo(r *reply, into any) error {
	if kind := r.info.Kind(); kind != '{' && kind != '[' {
		return errors.New("the answer has no info")
	}
	if err := json.Unmarshal(r.info, into, tolerant); err != nil {
		return unreadable("the answer's info", err)
	}
	return nil
}

// unreadable says where an answer could not be read without repeating what stands there.
func unreadable(what string, err error) error {
	if e, ok := errors.AsType[*json.SemanticError](err); ok && e.JSONPointer != "" {
		return fmt.Errorf("%s cannot be read at %s", what, clip(string(e.JSONPointer)))
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("%s is not whole and valid JSON (byte %d)", what, e.ByteOffset)
	}
	return fmt.Errorf("%s cannot be read", what)
}

// tolerant reads LINE Pay's answers: members that we do not know are passed over, null is absence, a text may come as a number, and broken
// UTF-8 in a product's name does not hide what became of the payment. A name that stands twice is refused: it would leave open which one
// counts.
var tolerant = json.JoinOptions(
	jsontext.AllowInvalidUTF8(true),
	json.WithUnmarshalers(json.JoinUnmarshalers(
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, text *string) error {
			if dec.PeekKind() != '0' {
				return errors.ErrUnsupported
			}
			number, err := dec.ReadValue()
			*text = string(number)
			return err
		}),
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, _ *TransactionID) error { return skipNull(dec) }),
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, _ *Amount) error { return skipNull(dec) }),
	)),
)

// skipNull reads a null and leaves everything else to the type itself.
func skipNull(dec *jsontext.Decoder) error {
	if dec.PeekKind() != 'n' {
		return errors.ErrUnsupported
	}
	_, err := dec.ReadToken()
	return err
}

// body writes what LINE Pay is to read: amounts as numbers, and nothing that is not set.
func body(v any) (string, error) {
	b, err := json.Marshal(v, amountsAsNumbers)
	return string(b), err
}

// amountsAsNumbers is made once: what json finds out about types on the way, it keeps with it.
var amountsAsNumbers = json.WithMarshalers(json.MarshalToFunc(func(enc *jsontext.Encoder, a Amount) error {
	return enc.WriteValue(a.Literal())
}))

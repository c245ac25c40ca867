package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// dataFlags are the ways to give a command's data: JSON, a file, or the common fields one by one.
type dataFlags struct {
	Data     *string `placeholder:"JSON" xor:"data" help:"The command's data."`
	DataFile string  `placeholder:"FILE" xor:"data" help:"File with the command's data; - reads standard input. Keeps a regKey out of the list of processes."`

	TransactionID  []string `sep:"none" placeholder:"ID" help:"LINE Pay's transaction id (details: repeatable)."`
	OrderID        []string `sep:"none" placeholder:"ORDER" help:"Order id (details: repeatable)."`
	Amount         *string  `placeholder:"AMOUNT" help:"Amount, such as 1000 or 10.50."`
	Currency       *string  `placeholder:"CODE" help:"Currency: TWD, JPY, USD or THB."`
	RefundAmount   *string  `placeholder:"AMOUNT" help:"Amount to give back; without it and --refund-id, all that is left."`
	RefundID       *string  `placeholder:"ID" help:"Your own name of the refund: two refunds with one name are one refund."`
	RegKey         *string  `placeholder:"KEY" help:"Key of a pre-approved payment."`
	ProductName    *string  `placeholder:"NAME" help:"Product of a pre-approved payment."`
	Capture        *bool    `negatable:"" help:"Take the money of a pre-approved payment at once (LINE Pay's default), or only hold it."`
	CreditCardAuth *bool    `negatable:"" help:"Check a key with a minimal authorization of its card."`
}

// read gives the data as JSON text, exactly as it was given where it was JSON already.
func (f *dataFlags) read(op linepay.Operation, in io.Reader) ([]byte, error) {
	fields, err := f.fields(op)
	switch {
	case err != nil:
		return nil, usageError{err}
	case f.Data == nil && f.DataFile == "":
		return json.Marshal(fields, json.Deterministic(true))
	case len(fields) > 0:
		return nil, usageError{errors.New("give the data as JSON or field by field, not both")}
	case f.Data != nil:
		return []byte(*f.Data), nil
	}
	data, err := f.readFile(in)
	if err != nil {
		return nil, usageError{fmt.Errorf("--data-file: %w", err)}
	}
	return data, nil
}

func (f *dataFlags) readFile(in io.Reader) ([]byte, error) {
	if f.DataFile != "-" {
		file, err := os.Open(f.DataFile)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, schemas.MaxCommandBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > schemas.MaxCommandBytes {
		return nil, fmt.Errorf("%s holds more than %d bytes, the most that a command may have", f.DataFile, schemas.MaxCommandBytes)
	}
	return data, nil
}

// fields are those that were given, by the names that commands use. Which of them belong to the operation is left to the schemas.
func (f *dataFlags) fields(op linepay.Operation) (map[string]any, error) {
	fields := map[string]any{}
	for name, values := range map[string][]string{"transactionId": f.TransactionID, "orderId": f.OrderID} {
		switch {
		case len(values) == 0:
		case op == linepay.Details:
			fields[name+"s"] = values
		case len(values) > 1:
			return nil, fmt.Errorf("%s is given %d times: only details takes several", name, len(values))
		default:
			fields[name] = values[0]
		}
	}
	for name, value := range map[string]*string{
		"amount": f.Amount, "currency": f.Currency, "refundAmount": f.RefundAmount, "refundId": f.RefundID,
		"regKey": f.RegKey, "productName": f.ProductName,
	} {
		if value != nil {
			fields[name] = *value
		}
	}
	for name, value := range map[string]*bool{"capture": f.Capture, "creditCardAuth": f.CreditCardAuth} {
		if value != nil {
			fields[name] = *value
		}
	}
	return fields, nil
}

// flagNames are the flags of fields, by the names that commands use.
var flagNames = map[string]string{
	"transactionId": "--transaction-id", "transactionIds": "--transaction-id", "orderId": "--order-id", "orderIds": "--order-id",
	"amount": "--amount", "currency": "--currency", "refundAmount": "--refund-amount", "refundId": "--refund-id",
	"regKey": "--reg-key", "productName": "--product-name", "capture": "--capture", "creditCardAuth": "--credit-card-auth",
}

// rule tells a broken rule in the words of the command line: by flag, where the data came from flags.
func (f *dataFlags) rule(op linepay.Operation, rule schemas.FieldError) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(rule.Path, "/data/"), "/")
	flag, known := flagNames[name]
	switch {
	case rule.Path == "/data":
		flag = "the data"
	case f.Data != nil || f.DataFile != "" || !known:
		return rule.Path + " " + rule.Message
	}
	if _, list, unknown := strings.Cut(rule.Message, "; known are "); unknown {
		var takes []string
		for member := range strings.SplitSeq(list, ", ") {
			if name, ok := flagNames[member]; ok {
				takes = append(takes, name)
			}
		}
		return fmt.Sprintf("%s is not for %s; use %s", flag, op, strings.Join(takes, ", "))
	}
	words := strings.Fields(rule.Message)
	for i, word := range words { // names of two words: the others are words of English, too
		if name, ok := flagNames[strings.Trim(word, ",:;")]; ok && strings.ToLower(word) != word {
			words[i] = strings.Replace(word, strings.Trim(word, ",:;"), name, 1)
		}
	}
	return flag + " " + strings.Join(words, " ")
}

// broken says where data that was given as JSON is none.
func (f *dataFlags) broken(data []byte) error {
	from := "--data"
	if f.DataFile != "" {
		from = "--data-file"
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return fmt.Errorf("%s is empty", from)
	}
	err := json.Unmarshal(data, new(jsontext.Value))
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s is not JSON in good order: %s", from, wrongJSON(err))
}

// wrongJSON puts an error of the JSON library into words for a person.
func wrongJSON(err error) string {
	var syntax *jsontext.SyntacticError
	var meaning *json.SemanticError
	switch {
	case errors.As(err, &syntax) && errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("it breaks off after byte %d", syntax.ByteOffset)
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Sprintf("%s is there twice", syntax.JSONPointer)
	case errors.As(err, &syntax):
		return fmt.Sprintf("the mistake is at byte %d", syntax.ByteOffset+1)
	case errors.As(err, &meaning) && meaning.JSONPointer != "":
		return fmt.Sprintf("%s has a value of the wrong kind", meaning.JSONPointer)
	case errors.As(err, &meaning):
		return "it has a value of the wrong kind"
	default:
		return err.Error()
	}
}

// splice puts data into an envelope without looking at it, so that --force can publish what is no JSON at all.
func splice(envelope jsontext.Value, data []byte) []byte {
	body := append([]byte{}, envelope[:len(envelope)-1]...)
	body = append(body, `,"data":`...)
	return append(append(body, data...), '}')
}

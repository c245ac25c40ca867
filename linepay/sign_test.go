package linepay

import (
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

const secretForTests = "0123456789abcdef0123456789abcdef"

// The signatures were computed with another HMAC implementation.
func TestSignMatchesKnownAnswers(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ name, secret, path, payload, nonce, want string }{
		{
			"post", secretForTests, "/v3/payments/2026112300000000110/refund", `{"refundAmount":12.5}`,
			"5b1f3c1e-7a55-4a4e-9a38-3f7f5b2f9c10", "Q0ygOOl+IADHw9J61jEEd//xtlKiVf/yFhhQDTqJUb4=",
		},
		{
			"post without fields, time as nonce", secretForTests, "/v4/payments/authorizations/2026112300000000110/void", `{}`,
			"1763900000000", "wbhi1D3tpfGIb615DRgBK8b+Q6r4z2g63tKF0Y+6jaA=",
		},
		{
			"get with repeated keys and escapes", secretForTests, "/v4/payments",
			"transactionId=2026112300000000110&transactionId=2026112300000000210&orderId=blue%20pen%26ink",
			"5b1f3c1e-7a55-4a4e-9a38-3f7f5b2f9c10", "T9/RblhRhuPOpROX9//Feb336tQwSqryjTPQXqZU8Es=",
		},
		{
			"get without query", secretForTests, "/v3/payments/requests/2026112300000000110/check", "",
			"5b1f3c1e-7a55-4a4e-9a38-3f7f5b2f9c10", "i9SMKwgBzIKCuNt4OghcPuQQIBcln6/kIQ5QepsObwU=",
		},
		{
			"bytes beyond ASCII", "秘密", "/v3/payments/request", `{"productName":"青いペン"}`,
			"n", "Bk9bQFtoah8EdVX7EX3eF3yYvV0Mfy92wP5Y0cWcslM=",
		},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			if got := Sign(Secret(v.secret), v.path, v.payload, v.nonce); got != v.want {
				t.Errorf("Sign = %s, want %s", got, v.want)
			}
		})
	}
}

func TestSignMatchesRecordedVectors(t *testing.T) {
	t.Parallel()
	path := recorded(t, "hmac.json")
	if path == "" {
		return
	}
	type vector struct{ ID, ChannelSecret, Path, Body, Query, Nonce, Signature, SentSignature, CorrectSignature string }
	var file struct{ Vectors, Negatives []vector }
	if err := json.Unmarshal(readFile(t, path), &file, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) == 0 || len(file.Negatives) == 0 {
		t.Fatal("the file holds no vectors")
	}
	for _, v := range file.Vectors {
		if got := Sign(Secret(v.ChannelSecret), v.Path, v.Body+v.Query, v.Nonce); got != v.Signature {
			t.Errorf("%s: Sign = %s, want %s", v.ID, got, v.Signature)
		}
	}
	for _, v := range file.Negatives {
		got := Sign(Secret(v.ChannelSecret), v.Path, v.Body+v.Query, v.Nonce)
		if got != v.CorrectSignature || got == v.SentSignature {
			t.Errorf("%s: Sign = %s, want %s and never %s", v.ID, got, v.CorrectSignature, v.SentSignature)
		}
	}
}

func TestSignCoversEveryPart(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-z/&=]{0,12}`)
		path, payload, nonce := text.Draw(t, "path"), text.Draw(t, "payload"), text.Draw(t, "nonce")
		signature := Sign(secretForTests, path, payload, nonce)
		if len(signature) != 44 {
			t.Fatalf("signature of %d characters", len(signature))
		}
		for _, other := range []string{
			Sign(secretForTests+"x", path, payload, nonce), Sign(secretForTests, path+"x", payload, nonce),
			Sign(secretForTests, path, "?"+payload+"x", nonce), Sign(secretForTests, path, payload, nonce+"x"),
		} {
			if other == signature {
				t.Fatal("a part is not signed")
			}
		}
	})
}

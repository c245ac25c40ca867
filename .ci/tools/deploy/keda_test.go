package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/kedacore/keda/v2/pkg/eventreason" // keeps KEDA in go.mod; its types themselves would bring in all of Kubernetes' clients
	"github.com/santhosh-tekuri/jsonschema/v6"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// scaledObject is what the tests read of KEDA's type; keda holds all of it.
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		ScaleTargetRef  struct{ Name string } `json:"scaleTargetRef"`
		MinReplicaCount int                   `json:"minReplicaCount"`
		MaxReplicaCount int                   `json:"maxReplicaCount"`
		PollingInterval int                   `json:"pollingInterval"`
		CooldownPeriod  int                   `json:"cooldownPeriod"`
		Triggers        []struct {
			Type     string            `json:"type"`
			Metadata map[string]string `json:"metadata"`
		} `json:"triggers"`
	} `json:"spec"`
}

// keda compiles the schema that KEDA itself gives to Kubernetes. Members that it does not name are refused.
func keda(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", "bases", "keda.sh_scaledobjects.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var definition struct {
		Spec struct {
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &definition); err != nil {
		t.Fatal(err)
	}
	version := definition.Spec.Versions[0]
	if version.Name != "v1alpha1" || version.Schema.OpenAPIV3Schema == nil {
		t.Fatalf("KEDA's first version is %s", version.Name)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	if err := compiler.AddResource("keda.json", closed(version.Schema.OpenAPIV3Schema)); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("keda.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// closed refuses members that a schema does not name, wherever it names any.
func closed(schema map[string]any) map[string]any {
	if schema["x-kubernetes-int-or-string"] == true {
		return map[string]any{"type": []any{"integer", "string"}}
	}
	if properties, has := schema["properties"].(map[string]any); has {
		schema["additionalProperties"] = false
		for name, property := range properties {
			properties[name] = closed(property.(map[string]any))
		}
	}
	if items, has := schema["items"].(map[string]any); has {
		schema["items"] = closed(items)
	}
	return schema
}

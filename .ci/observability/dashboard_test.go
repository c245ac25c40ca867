package observability

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// dashboard is what Grafana needs of one, and what these tests look at.
type dashboard struct {
	UID           string `json:"uid"`
	Title         string `json:"title"`
	SchemaVersion int    `json:"schemaVersion"`
	ID            *int   `json:"id"`
	Inputs        []any  `json:"__inputs"`
	Templating    struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type variable struct {
	Name       string      `json:"name"`
	Type       string      `json:"type"`
	Query      any         `json:"query"`
	Definition string      `json:"definition"`
	Datasource *datasource `json:"datasource"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type panel struct {
	ID          int         `json:"id"`
	Type        string      `json:"type"`
	Title       string      `json:"title"`
	Description string      `json:"description"`
	Datasource  *datasource `json:"datasource"`
	GridPos     struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	} `json:"gridPos"`
	Targets []struct {
		RefID      string      `json:"refId"`
		Expr       string      `json:"expr"`
		Datasource *datasource `json:"datasource"`
	} `json:"targets"`
}

// chosen is the data source that somebody chooses in the dashboard.
var chosen = datasource{"prometheus", "${datasource}"}

// board reads the dashboard as Grafana does, which looks at the first document only.
func board(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	decoder := json.NewDecoder(strings.NewReader(read(t, "deploy/observability/dashboard.json")))
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	if decoder.More() {
		t.Error("there is more than one document")
	}
	return d
}

func TestDashboardImportsIntoAnyGrafana(t *testing.T) {
	t.Parallel()
	d := board(t)
	// Version 39 is Grafana 10.4's; later ones migrate it. A dashboard with an id would replace another one.
	if d.SchemaVersion != 39 || d.UID == "" || len(d.UID) > 40 || d.Title == "" || d.ID != nil || len(d.Inputs) > 0 {
		t.Errorf("schemaVersion %d, uid %q, title %q, id %v, inputs %v", d.SchemaVersion, d.UID, d.Title, d.ID, d.Inputs)
	}
	names := map[string]string{}
	for _, v := range d.Templating.List {
		names[v.Name] = v.Type
		if v.Type == "query" && (v.Datasource == nil || *v.Datasource != chosen) {
			t.Errorf("variable %s has data source %v, want %v", v.Name, v.Datasource, chosen)
		}
	}
	if names["datasource"] != "datasource" || names["channel"] != "query" {
		t.Errorf("variables are %v, want the data source and the channel", names)
	}
	if d.Templating.List[0].Query != "prometheus" {
		t.Errorf("data sources to choose from are %v, want those of Prometheus", d.Templating.List[0].Query)
	}
}

func TestPanelsStandSideBySideAndAskTheChosenPrometheus(t *testing.T) {
	t.Parallel()
	ids, taken := map[int]string{}, map[[2]int]string{}
	for _, p := range board(t).Panels {
		if other, twice := ids[p.ID]; twice || p.ID <= 0 || p.Title == "" {
			t.Errorf("panel %q has the id %d of %q", p.Title, p.ID, other)
		}
		ids[p.ID] = p.Title
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, full := taken[at]; full || at[0] >= 24 {
					t.Fatalf("panel %q lies on %q, or outside, at %v", p.Title, other, at)
				}
				taken[at] = p.Title
			}
		}
		if p.GridPos.W*p.GridPos.H == 0 {
			t.Errorf("panel %q has no size", p.Title)
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource == nil || *p.Datasource != chosen || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q asks %v for %d things and says %q", p.Title, p.Datasource, len(p.Targets), p.Description)
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if target.Datasource == nil || *target.Datasource != chosen || target.RefID == "" || refs[target.RefID] {
				t.Errorf("panel %q: target %q asks %v", p.Title, target.RefID, target.Datasource)
			}
			refs[target.RefID] = true
		}
	}
}

func TestDashboardShowsEveryMetricAndNoneThatThereIsNot(t *testing.T) {
	t.Parallel()
	known, shown := documented(t), map[string]bool{}
	grafana := strings.NewReplacer("$__rate_interval", "5m", "$channel", "tw")
	d := board(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			for _, name := range selected(t, fmt.Sprintf("panel %q", p.Title), grafana.Replace(target.Expr), known) {
				for _, suffix := range []string{"_bucket", "_count", "_sum"} {
					if base := strings.TrimSuffix(name, suffix); known[base] != nil || name == base {
						shown[base] = true
					}
				}
				shown[name] = true
			}
		}
	}
	for name := range known {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
		if !shown[base] {
			t.Errorf("no panel shows %s", name)
		}
	}
	for _, v := range d.Templating.List {
		if name, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			if name, _, _ = strings.Cut(name, ","); known[name] == nil {
				t.Errorf("variable %s asks for %s, which there is not", v.Name, name)
			}
		}
	}
}

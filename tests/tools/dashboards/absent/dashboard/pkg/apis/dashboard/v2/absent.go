// Package v2 stands for Grafana's second schema of dashboards. The linter reads classic ones without it; a dashboard of
// this schema is refused.
package v2

import "errors"

type DashboardSpec struct {
	Title       string
	Editable    *bool
	Elements    map[string]DashboardElement
	Variables   []DashboardVariableKind
	Annotations []DashboardAnnotationQueryKind
}

func (*DashboardSpec) UnmarshalJSON([]byte) error {
	return errors.New("this build of the linter does not know dashboards of the schema v2")
}

type DashboardElement struct{ PanelKind *PanelKind }

type PanelKind struct{ Spec DashboardPanelSpec }

type DashboardPanelSpec struct {
	Id                 float64
	Title, Description string
	VizConfig          struct {
		Group string
		Spec  struct{ FieldConfig, Options any }
	}
	Data struct {
		Spec struct{ Queries []DashboardPanelQueryKind }
	}
}

type DashboardPanelQueryKind struct {
	Spec struct {
		RefId  string
		Hidden bool
		Query  DashboardDataQueryKind
	}
}

type DashboardDataQueryKind struct {
	Group      string
	Datasource *struct{ Name *string }
	Spec       map[string]any
}

type DashboardAnnotationQueryKind struct {
	Spec struct {
		Name  string
		Query DashboardDataQueryKind
	}
}

type DashboardVariableRefresh string

const (
	DashboardVariableRefreshOnTimeRangeChanged DashboardVariableRefresh = "onTimeRangeChanged"
	DashboardVariableRefreshOnDashboardLoad    DashboardVariableRefresh = "onDashboardLoad"
)

// Variable has the fields of every kind of variable.
type Variable struct {
	Name            string
	Label, AllValue *string
	Multi           bool
	Refresh         DashboardVariableRefresh
	PluginId        string
}

type (
	QueryVariable struct {
		Variable
		Query DashboardDataQueryKind
	}
	TextualVariable struct {
		Variable
		Query string
	}
	QueryVariableKind   struct{ Spec QueryVariable }
	TextualVariableKind struct{ Spec TextualVariable }
	PlainVariableKind   struct{ Spec Variable }
)

type DashboardVariableKind struct {
	QueryVariableKind                                                                *QueryVariableKind
	CustomVariableKind, IntervalVariableKind, ConstantVariableKind, TextVariableKind *TextualVariableKind
	DatasourceVariableKind, AdhocVariableKind, GroupByVariableKind                   *PlainVariableKind
	SwitchVariableKind                                                               *PlainVariableKind
}

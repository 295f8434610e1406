{{/* Names, labels, images. */}}

{{- define "apim-failover.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters: names that are made of it stay within 63. */}}
{{- define "apim-failover.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "apim-failover.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "apim-failover.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "apim-failover.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Never a version in here: selectors cannot be changed. */}}
{{- define "apim-failover.selectorLabels" -}}
app.kubernetes.io/name: {{ include "apim-failover.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "apim-failover.otherLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: apim-failover
{{- end -}}

{{/* Labels of an object; those of the values cannot replace ours. List of root, further labels. */}}
{{- define "apim-failover.labels" -}}
{{- $root := index . 0 -}}
{{- toYaml (merge (include "apim-failover.selectorLabels" $root | fromYaml) (include "apim-failover.otherLabels" $root | fromYaml) (index . 1) $root.Values.commonLabels) -}}
{{- end -}}

{{/* Labels of a pod: no version of the chart, which would restart it. List of root, component, further labels. */}}
{{- define "apim-failover.podLabels" -}}
{{- $root := index . 0 -}}
{{- $own := dict "app.kubernetes.io/component" (index . 1) "app.kubernetes.io/part-of" "apim-failover" -}}
{{- toYaml (merge $own (include "apim-failover.selectorLabels" $root | fromYaml) (index . 2) $root.Values.podLabels $root.Values.commonLabels) -}}
{{- end -}}

{{/* Metadata of an object: list of root, suffix of the name, annotations, labels, namespace. */}}
{{- define "apim-failover.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "apim-failover.fullname" $root }}{{ index . 1 }}
namespace: {{ default (include "apim-failover.namespace" $root) (index . 4) }}
labels:
  {{- include "apim-failover.labels" (list $root (index . 3)) | nindent 2 }}
{{- with merge dict (index . 2) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* List of root and an image's values. */}}
{{- define "apim-failover.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- $registry := default $image.registry $root.Values.global.imageRegistry -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default $root.Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- define "apim-failover.replicas" -}}
{{- if .Values.emulator.enabled }}1{{ else }}{{ .Values.replicaCount }}{{ end -}}
{{- end -}}

{{- define "apim-failover.leaseName" -}}
{{- default (include "apim-failover.fullname" .) .Values.leaderElection.leaseName -}}
{{- end -}}

{{- define "apim-failover.storePrefix" -}}
{{- default (include "apim-failover.fullname" .) .Values.store.prefix -}}
{{- end -}}

{{/* Secrets of certificates. */}}
{{- define "apim-failover.tlsSecret" -}}
{{- if eq .Values.tls.mode "existingSecret" }}{{ .Values.tls.existingSecret }}{{ else }}{{ include "apim-failover.fullname" . }}-tls{{ end -}}
{{- end -}}

{{- define "apim-failover.testSecret" -}}
{{- if eq .Values.tls.mode "existingSecret" }}{{ .Values.tests.operatorSecret }}{{ else }}{{ include "apim-failover.fullname" . }}-operator-helm-test{{ end -}}
{{- end -}}

{{/* List of root and a probe region. */}}
{{- define "apim-failover.emulatorAgentSecret" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.tls.mode "existingSecret" -}}
{{- index $root.Values.emulator.agentSecrets (index . 1) -}}
{{- else -}}
{{- include "apim-failover.fullname" $root }}-emulator-{{ index . 1 -}}
{{- end -}}
{{- end -}}

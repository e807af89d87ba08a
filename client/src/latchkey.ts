export * from './api.js';
export { createClient } from './client.js';

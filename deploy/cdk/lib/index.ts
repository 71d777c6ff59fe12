export * from './layer';
export * from './sidekey';

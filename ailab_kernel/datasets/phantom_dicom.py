"""draft"""
def to_dicom(study): raise NotImplementedError
def is_phantom(ds): return True
